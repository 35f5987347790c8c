// Neighbourhood attention. A task is some rows of queries of one image, head and dilation group. It packs the keys and
// values that the rows need; then a tile of TILE queries of a row attends to the columns of keys that its windows span,
// one row of keys at a time, and what lies outside a query's own window is masked. No more scores exist than a tile's.
#include <algorithm>
#include <limits>

#include "window_attention.h"

namespace foveal {
namespace {

// One axis of a dilation group, and where a query's window begins in it
struct Axis : Line {
  int64_t kernel;
  int64_t start(int64_t query) const { return std::min(std::max(query - kernel / 2, int64_t{0}), count - kernel); }
};

Axis group_axis(int64_t length, int64_t kernel, int64_t dilation, int64_t group) {
  return {{group, dilation, (length - group + dilation - 1) / dilation}, kernel};
}

Span span_of(const Axis& xs, int64_t query, int64_t queries) {
  return span_between(xs.start(query), xs.start(query + queries - 1) + xs.kernel);
}

// scores [row][TILE][columns] to probabilities, zero outside each query's window; the bias is that of row 0 and key 0
template <typename T>
void softmax(T* s, const Axis& ys, const Axis& xs, int64_t y, int64_t x, int64_t queries, const Span& span, T scale,
             const T* bias) {
  const int64_t kh = ys.kernel, kw = xs.kernel, wide = 2 * kw - 1;
  for (int64_t i = 0; i < TILE; ++i) {
    if (i >= queries) {
      for (int64_t a = 0; a < kh; ++a) std::fill_n(s + (a * TILE + i) * span.columns, span.columns, T(0));
      continue;
    }
    const int64_t begin = xs.start(x + i), skip = begin - span.first;
    T top = -std::numeric_limits<T>::infinity();
    for (int64_t a = 0; a < kh; ++a) {
      T* line = s + (a * TILE + i) * span.columns + skip;
      for (int64_t b = 0; b < kw; ++b) line[b] *= scale;
      if (bias != nullptr) {
        const T* from = bias + (ys.start(y) + a - y + kh - 1) * wide + begin - (x + i) + kw - 1;
        for (int64_t b = 0; b < kw; ++b) line[b] += from[b];
      }
      for (int64_t b = 0; b < kw; ++b) top = std::max(top, line[b]);
    }
    T sum = 0;
    for (int64_t a = 0; a < kh; ++a) {
      T* line = s + (a * TILE + i) * span.columns;
      for (int64_t c = 0; c < span.columns; ++c)
        line[c] = c >= skip && c < skip + kw ? exp_negative(line[c] - top) : T(0);
      for (int64_t b = 0; b < kw; ++b) sum += line[skip + b];
    }
    const T factor = 1 / sum;
    for (int64_t a = 0; a < kh; ++a) {
      T* line = s + (a * TILE + i) * span.columns + skip;
      for (int64_t b = 0; b < kw; ++b) line[b] *= factor;
    }
  }
}

struct Shape {
  int64_t n, height, width, heads, dim, kh, kw, dh, dw;
  int64_t groups() const { return n * heads * dh * dw; }
  // number of a group to its image, head and axes
  void split(int64_t group, int64_t& image, int64_t& head, Axis& ys, Axis& xs) const {
    xs = group_axis(width, kw, dw, group % dw), group /= dw;
    ys = group_axis(height, kh, dh, group % dh), group /= dh;
    head = group % heads, image = group / heads;
  }
};

template <typename T>
void forward(const Shape& s, const Map<T>& q, const Map<T>& k, const Map<T>& v, const T* bias, T scale,
             const Map<T>& out) {
  const int64_t most = (s.height + s.dh - 1) / s.dh;
  const int64_t rows = std::min<int64_t>(most, std::max<int64_t>(s.kh, 8)), parts = (most + rows - 1) / rows;
  torch::stable::parallel_for(0, s.groups() * parts, 1, [&](int64_t begin, int64_t end) {
    Packed<T> keys, values;
    std::vector<T> weights, queries, result;
    for (int64_t task = begin; task < end; ++task) {
      int64_t n, h;
      Axis ys, xs;
      s.split(task / parts, n, h, ys, xs);
      const int64_t first = task % parts * rows, last = std::min(first + rows, ys.count);
      if (first >= last) continue;
      const int64_t from = ys.start(first), packed = ys.start(last - 1) + s.kh - from;
      keys.fill(k, n, h, s.dim, ys, xs, from, packed, false, true);
      values.fill(v, n, h, s.dim, ys, xs, from, packed, true, false);
      queries.resize(TILE * keys.depth);
      result.resize(TILE * keys.depth);
      const T* own = bias == nullptr ? nullptr : bias + h * (2 * s.kh - 1) * (2 * s.kw - 1);
      for (int64_t y = first; y < last; ++y)
        for (int64_t x = 0; x < xs.count; x += TILE) {
          const int64_t count = std::min(TILE, xs.count - x);
          const Span span = span_of(xs, x, count);
          weights.resize(s.kh * TILE * span.columns);
          load_tile(q, n, h, ys, xs, y, x, count, s.dim, keys.depth, queries.data());
          scores(queries.data(), keys, ys.start(y) - from, s.kh, span, weights.data());
          softmax(weights.data(), ys, xs, y, x, count, span, scale, own);
          std::fill(result.begin(), result.end(), T(0));
          gather(weights.data(), values, ys.start(y) - from, s.kh, span, result.data());
          store_tile(result.data(), out, n, h, ys, xs, y, x, count, s.dim, keys.depth);
        }
    }
  });
}

// d_bias is [groups, 2 kh - 1, 2 kw - 1], one for each group, or null
template <typename T>
void backward(const Shape& s, const Map<T>& d_out, const Map<T>& q, const Map<T>& k, const Map<T>& v, const T* bias,
              T scale, const Map<T>& d_q, const Map<T>& d_k, const Map<T>& d_v, T* d_bias) {
  torch::stable::parallel_for(0, s.groups(), 1, [&](int64_t begin, int64_t end) {
    Packed<T> keys, values;
    std::vector<T> weights, slopes, queries, slopes_out, slopes_q, sum_k, sum_v;
    for (int64_t group = begin; group < end; ++group) {
      int64_t n, h;
      Axis ys, xs;
      s.split(group, n, h, ys, xs);
      keys.fill(k, n, h, s.dim, ys, xs, 0, ys.count, true, true);
      values.fill(v, n, h, s.dim, ys, xs, 0, ys.count, false, true);
      const int64_t depth = keys.depth, line = keys.width * depth, size = (2 * s.kh - 1) * (2 * s.kw - 1);
      sum_k.assign(ys.count * line, T(0));
      sum_v.assign(ys.count * line, T(0));
      for (auto* tile : {&queries, &slopes_out, &slopes_q}) tile->resize(TILE * depth);
      const T* own = bias == nullptr ? nullptr : bias + h * size;
      for (int64_t y = 0; y < ys.count; ++y)
        for (int64_t x = 0; x < xs.count; x += TILE) {
          const int64_t count = std::min(TILE, xs.count - x), top = ys.start(y);
          const Span span = span_of(xs, x, count);
          weights.resize(s.kh * TILE * span.columns);
          slopes.resize(weights.size());
          load_tile(q, n, h, ys, xs, y, x, count, s.dim, depth, queries.data());
          load_tile(d_out, n, h, ys, xs, y, x, count, s.dim, depth, slopes_out.data());
          scores(queries.data(), keys, top, s.kh, span, weights.data());
          softmax(weights.data(), ys, xs, y, x, count, span, scale, own);
          scores(slopes_out.data(), values, top, s.kh, span, slopes.data());
          for (int64_t i = 0; i < TILE; ++i) {  // through the softmax
            T mean = 0;
            for (int64_t a = 0; a < s.kh; ++a)
              for (int64_t c = 0; c < span.columns; ++c) {
                const int64_t at = (a * TILE + i) * span.columns + c;
                mean += weights[at] * slopes[at];
              }
            const int64_t skip = xs.start(std::min(x + i, xs.count - 1)) - span.first;
            for (int64_t a = 0; a < s.kh; ++a) {
              T* row = &slopes[(a * TILE + i) * span.columns];
              const T* p = &weights[(a * TILE + i) * span.columns];
              for (int64_t c = 0; c < span.columns; ++c) row[c] = p[c] * (row[c] - mean);
              if (d_bias != nullptr && i < count) {
                T* to = d_bias + group * size + (top + a - y + s.kh - 1) * (2 * s.kw - 1) + xs.start(x + i) - (x + i) +
                        s.kw - 1;
                for (int64_t b = 0; b < s.kw; ++b) to[b] += row[skip + b];
              }
              for (int64_t c = 0; c < span.columns; ++c) row[c] *= scale;
            }
          }
          std::fill(slopes_q.begin(), slopes_q.end(), T(0));
          gather(slopes.data(), keys, top, s.kh, span, slopes_q.data());
          store_tile(slopes_q.data(), d_q, n, h, ys, xs, y, x, count, s.dim, depth);
          scatter(slopes.data(), queries.data(), keys, top, s.kh, span, xs.count, sum_k.data());
          scatter(weights.data(), slopes_out.data(), keys, top, s.kh, span, xs.count, sum_v.data());
        }
      store_rows(sum_k.data(), keys, d_k, n, h, ys, xs);
      store_rows(sum_v.data(), keys, d_v, n, h, ys, xs);
    }
  });
}

Shape shape_of(const Tensor& q, int64_t kh, int64_t kw, int64_t dh, int64_t dw) {
  return {q.size(0), q.size(1), q.size(2), q.size(3), q.size(4), kh, kw, dh, dw};
}

void run_forward(Tensor q, Tensor k, Tensor v, Tensor bias, int64_t kh, int64_t kw, int64_t dh, int64_t dw,
                 double scale, Tensor out) {
  const Shape s = shape_of(q, kh, kw, dh, dw);
  if (q.scalar_type() == ScalarType::Double)
    forward<double>(s, Map<double>(q), Map<double>(k), Map<double>(v), numbers<double>(bias), scale, Map<double>(out));
  else
    forward<float>(s, Map<float>(q), Map<float>(k), Map<float>(v), numbers<float>(bias), static_cast<float>(scale),
                   Map<float>(out));
}

template <typename T>
void run_backward_as(const Shape& s, const Tensor& d_out, const Tensor& q, const Tensor& k, const Tensor& v,
                     const Tensor& bias, double scale, const Tensor& d_q, const Tensor& d_k, const Tensor& d_v,
                     const Tensor& d_bias) {
  backward<T>(s, Map<T>(d_out), Map<T>(q), Map<T>(k), Map<T>(v), numbers<T>(bias), static_cast<T>(scale), Map<T>(d_q),
              Map<T>(d_k), Map<T>(d_v), const_cast<T*>(numbers<T>(d_bias)));
}

void run_backward(Tensor d_out, Tensor q, Tensor k, Tensor v, Tensor bias, int64_t kh, int64_t kw, int64_t dh,
                  int64_t dw, double scale, Tensor d_q, Tensor d_k, Tensor d_v, Tensor d_bias) {
  const Shape s = shape_of(q, kh, kw, dh, dw);
  if (q.scalar_type() == ScalarType::Double)
    run_backward_as<double>(s, d_out, q, k, v, bias, scale, d_q, d_k, d_v, d_bias);
  else
    run_backward_as<float>(s, d_out, q, k, v, bias, scale, d_q, d_k, d_v, d_bias);
}

}  // namespace
}  // namespace foveal

STABLE_TORCH_LIBRARY_FRAGMENT(foveal_cpp, m) {
  m.def(
      "neighborhood_attention_forward(Tensor q, Tensor k, Tensor v, Tensor bias, int kh, int kw, int dh, int dw, "
      "float scale, Tensor(a!) out) -> ()");
  m.def(
      "neighborhood_attention_backward(Tensor d_out, Tensor q, Tensor k, Tensor v, Tensor bias, int kh, int kw, "
      "int dh, int dw, float scale, Tensor(a!) d_q, Tensor(b!) d_k, Tensor(c!) d_v, Tensor(d!) d_bias) -> ()");
}

STABLE_TORCH_LIBRARY_IMPL(foveal_cpp, CPU, m) {
  m.impl("neighborhood_attention_forward", TORCH_BOX(&foveal::run_forward));
  m.impl("neighborhood_attention_backward", TORCH_BOX(&foveal::run_backward));
}
