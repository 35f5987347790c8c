// Aggregated attention: TILE queries of a row attend to the rows of keys that their windows meet, what lies outside a
// query's own window masked, and to all pooled keys, with one softmax. No more scores exist than a tile's.
#include <algorithm>
#include <limits>

#include "window_attention.h"

namespace foveal {
namespace {

struct Shape {
  int64_t n, height, width, heads, dim, pooled, kernel;
  int64_t edge() const { return kernel / 2; }
  int64_t window() const { return kernel * kernel; }
  Line rows() const { return {0, 1, height}; }
  Line columns() const { return {0, 1, width}; }
  Line pool() const { return {0, 1, pooled}; }
};

// [heads, H * W, P] with any strides, or null
template <typename T>
struct PoolBias {
  const T* data;
  int64_t strides[3];
  explicit PoolBias(const Tensor& x) : data(numbers<T>(x)), strides{0, 0, 0} {
    for (int i = 0; data != nullptr && i < 3; ++i) strides[i] = x.stride(i);
  }
};

// What the softmax and the weights after it read; null where there is none
template <typename T>
struct Terms {
  const T* local_bias;     // [heads, K]
  PoolBias<T> pool_bias;   // [heads, H * W, P]
  const T* local_weights;  // [N, H, W, heads, K]
};

// Some queries of a row: which, and the keys around them
struct Tile {
  const Shape& s;
  int64_t n, h, y, x, count, top, rows;
  Span span, pool;
  Tile(const Shape& shape, int64_t image, int64_t head, int64_t row, int64_t column)
      : s(shape), n(image), h(head), y(row), x(column), count(std::min(TILE, s.width - x)),
        top(std::max(y - s.edge(), int64_t{0})), rows(std::min(y + s.edge() + 1, s.height) - top),
        span(span_between(std::max(x - s.edge(), int64_t{0}), std::min(x + count + s.edge(), s.width))),
        pool(span_between(0, s.pooled)) {}
  int64_t local() const { return rows * TILE * span.columns; }
  int64_t size() const { return local() + TILE * pool.columns; }  // local scores, then the pooled ones
  int64_t pixel(int64_t i) const { return y * s.width + x + i; }
  int64_t begin(int64_t i) const { return std::max(x + i - s.edge(), int64_t{0}) - span.first; }
  int64_t end(int64_t i) const { return std::min(x + i + s.edge() + 1, s.width) - span.first; }
  // of row a's column 0 in a query's window of K
  int64_t cell(int64_t i, int64_t a) const {
    return (top + a - y + s.edge()) * s.kernel + span.first - (x + i) + s.edge();
  }
  int64_t own_window(int64_t i) const { return ((n * s.height * s.width + pixel(i)) * s.heads + h) * s.window(); }
};

// Scores to probabilities, zero outside each query's window
template <typename T>
void softmax(T* s, const Tile& t, T scale, const Terms<T>& terms) {
  for (int64_t i = 0; i < TILE; ++i) {
    T* pool = s + t.local() + i * t.pool.columns;
    const auto line = [&](int64_t a) { return s + (a * TILE + i) * t.span.columns; };
    if (i >= t.count) {
      for (int64_t a = 0; a < t.rows; ++a) std::fill_n(line(a), t.span.columns, T(0));
      std::fill_n(pool, t.pool.columns, T(0));
      continue;
    }
    const int64_t begin = t.begin(i), end = t.end(i);
    T top = -std::numeric_limits<T>::infinity();
    for (int64_t a = 0; a < t.rows; ++a) {
      T* row = line(a);
      for (int64_t c = begin; c < end; ++c) row[c] *= scale;
      if (terms.local_bias != nullptr) {
        const T* bias = terms.local_bias + t.h * t.s.window() + t.cell(i, a);
        for (int64_t c = begin; c < end; ++c) row[c] += bias[c];
      }
      for (int64_t c = begin; c < end; ++c) top = std::max(top, row[c]);
    }
    for (int64_t p = 0; p < t.s.pooled; ++p) pool[p] *= scale;
    if (const PoolBias<T>& b = terms.pool_bias; b.data != nullptr) {
      const T* bias = b.data + t.h * b.strides[0] + t.pixel(i) * b.strides[1];
      for (int64_t p = 0; p < t.s.pooled; ++p) pool[p] += bias[p * b.strides[2]];
    }
    for (int64_t p = 0; p < t.s.pooled; ++p) top = std::max(top, pool[p]);
    T sum = 0;
    for (int64_t a = 0; a < t.rows; ++a) {
      T* row = line(a);
      for (int64_t c = 0; c < t.span.columns; ++c)
        row[c] = c >= begin && c < end ? exp_negative(row[c] - top) : T(0);
      for (int64_t c = begin; c < end; ++c) sum += row[c];
    }
    for (int64_t p = 0; p < t.pool.columns; ++p) pool[p] = p < t.s.pooled ? exp_negative(pool[p] - top) : T(0);
    for (int64_t p = 0; p < t.s.pooled; ++p) sum += pool[p];
    const T factor = 1 / sum;
    for (int64_t a = 0; a < t.rows; ++a)
      for (int64_t c = begin; c < end; ++c) line(a)[c] *= factor;
    for (int64_t p = 0; p < t.s.pooled; ++p) pool[p] *= factor;
  }
}

// Probabilities to the weights of the values
template <typename T>
void add_local_weights(T* s, const Tile& t, const T* local_weights) {
  if (local_weights == nullptr) return;
  for (int64_t i = 0; i < t.count; ++i)
    for (int64_t a = 0; a < t.rows; ++a) {
      const T* own = local_weights + t.own_window(i) + t.cell(i, a);
      T* row = s + (a * TILE + i) * t.span.columns;
      for (int64_t c = t.begin(i); c < t.end(i); ++c) row[c] += own[c];
    }
}

template <typename T>
void forward(const Shape& s, const Map<T>& q, const Map<T>& k, const Map<T>& v, const Map<T>& k_pool,
             const Map<T>& v_pool, const Terms<T>& terms, T scale, const Map<T>& out) {
  const int64_t rows = std::min<int64_t>(s.height, std::max<int64_t>(s.kernel, 8));
  const int64_t parts = (s.height + rows - 1) / rows;
  torch::stable::parallel_for(0, s.n * s.heads * parts, 1, [&](int64_t begin, int64_t end) {
    Packed<T> keys, values, pool_keys, pool_values;
    std::vector<T> weights, queries, result;
    for (int64_t task = begin; task < end; ++task) {
      const int64_t n = task / parts / s.heads, h = task / parts % s.heads, first = task % parts * rows;
      const int64_t last = std::min(first + rows, s.height), from = std::max(first - s.edge(), int64_t{0});
      const int64_t packed = std::min(last + s.edge(), s.height) - from;
      keys.fill(k, n, h, s.dim, s.rows(), s.columns(), from, packed, false, true);
      values.fill(v, n, h, s.dim, s.rows(), s.columns(), from, packed, true, false);
      pool_keys.fill(k_pool, n, h, s.dim, {0, 1, 1}, s.pool(), 0, 1, false, true);
      pool_values.fill(v_pool, n, h, s.dim, {0, 1, 1}, s.pool(), 0, 1, true, false);
      queries.resize(TILE * keys.depth);
      for (int64_t y = first; y < last; ++y)
        for (int64_t x = 0; x < s.width; x += TILE) {
          const Tile t(s, n, h, y, x);
          weights.resize(t.size());
          load_tile(q, n, h, s.rows(), s.columns(), y, x, t.count, s.dim, keys.depth, queries.data());
          scores(queries.data(), keys, t.top - from, t.rows, t.span, weights.data());
          scores(queries.data(), pool_keys, 0, 1, t.pool, weights.data() + t.local());
          softmax(weights.data(), t, scale, terms);
          add_local_weights(weights.data(), t, terms.local_weights);
          result.assign(TILE * keys.depth, T(0));
          gather(weights.data(), values, t.top - from, t.rows, t.span, result.data());
          gather(weights.data() + t.local(), pool_values, 0, 1, t.pool, result.data());
          store_tile(result.data(), out, n, h, s.rows(), s.columns(), y, x, t.count, s.dim, keys.depth);
        }
    }
  });
}

// Gradients, zero at first; null where none is wanted
template <typename T>
struct Slopes {
  Map<T> q, k, v, k_pool, v_pool;
  T* local_bias;     // [N, heads, K]: one for each image
  T* pool_bias;      // [heads, H * W, P]
  T* local_weights;  // [N, H, W, heads, K]
};

// Slopes of the values' weights to slopes of the scores; the biases' and weights' gradients on the way
template <typename T>
void through_softmax(T* slopes, const T* weights, const Tile& t, T scale, const Slopes<T>& d) {
  for (int64_t i = 0; i < t.count; ++i) {
    T* pool = slopes + t.local() + i * t.pool.columns;
    const T* pool_weights = weights + t.local() + i * t.pool.columns;
    const int64_t begin = t.begin(i), end = t.end(i);
    T mean = 0;
    for (int64_t a = 0; a < t.rows; ++a) {
      const int64_t at = (a * TILE + i) * t.span.columns;
      for (int64_t c = begin; c < end; ++c) mean += weights[at + c] * slopes[at + c];
      if (d.local_weights != nullptr)
        std::copy(slopes + at + begin, slopes + at + end, d.local_weights + t.own_window(i) + t.cell(i, a) + begin);
    }
    for (int64_t p = 0; p < t.s.pooled; ++p) mean += pool_weights[p] * pool[p];
    for (int64_t a = 0; a < t.rows; ++a) {
      const int64_t at = (a * TILE + i) * t.span.columns;
      for (int64_t c = 0; c < t.span.columns; ++c) slopes[at + c] = weights[at + c] * (slopes[at + c] - mean);
      if (d.local_bias != nullptr) {
        T* to = d.local_bias + (t.n * t.s.heads + t.h) * t.s.window() + t.cell(i, a);
        for (int64_t c = begin; c < end; ++c) to[c] += slopes[at + c];
      }
      for (int64_t c = begin; c < end; ++c) slopes[at + c] *= scale;
    }
    for (int64_t p = 0; p < t.pool.columns; ++p) pool[p] = pool_weights[p] * (pool[p] - mean);
    if (d.pool_bias != nullptr) {
      T* to = d.pool_bias + (t.h * t.s.height * t.s.width + t.pixel(i)) * t.s.pooled;
      for (int64_t p = 0; p < t.s.pooled; ++p) to[p] += pool[p];
    }
    for (int64_t p = 0; p < t.s.pooled; ++p) pool[p] *= scale;
  }
}

template <typename T>
void backward(const Shape& s, const Map<T>& d_out, const Map<T>& q, const Map<T>& k, const Map<T>& v,
              const Map<T>& k_pool, const Map<T>& v_pool, const Terms<T>& terms, T scale, const Slopes<T>& d) {
  // the gradient of the pooled bias is a sum over the images: with it, a task takes a head of all of them
  const int64_t parts = d.pool_bias == nullptr ? s.n : 1, images = s.n / parts;
  torch::stable::parallel_for(0, parts * s.heads, 1, [&](int64_t begin, int64_t end) {
    Packed<T> keys, values, pool_keys, pool_values;
    std::vector<T> weights, slopes, queries, slopes_out, slopes_q, sum_k, sum_v, sum_k_pool, sum_v_pool;
    for (int64_t number = begin * images; number < end * images; ++number) {
      const int64_t n = number / images / s.heads * images + number % images, h = number / images % s.heads;
      const Line ys = s.rows(), xs = s.columns(), one{0, 1, 1}, pool = s.pool();
      keys.fill(k, n, h, s.dim, ys, xs, 0, s.height, true, true);
      values.fill(v, n, h, s.dim, ys, xs, 0, s.height, false, true);
      pool_keys.fill(k_pool, n, h, s.dim, one, pool, 0, 1, true, true);
      pool_values.fill(v_pool, n, h, s.dim, one, pool, 0, 1, false, true);
      for (auto* sum : {&sum_k, &sum_v}) sum->assign(keys.plain.size(), T(0));
      for (auto* sum : {&sum_k_pool, &sum_v_pool}) sum->assign(pool_keys.plain.size(), T(0));
      for (auto* tile : {&queries, &slopes_out}) tile->resize(TILE * keys.depth);
      for (int64_t y = 0; y < s.height; ++y)
        for (int64_t x = 0; x < s.width; x += TILE) {
          const Tile t(s, n, h, y, x);
          weights.resize(t.size());
          slopes.resize(t.size());
          load_tile(q, n, h, ys, xs, y, x, t.count, s.dim, keys.depth, queries.data());
          load_tile(d_out, n, h, ys, xs, y, x, t.count, s.dim, keys.depth, slopes_out.data());
          scores(queries.data(), keys, t.top, t.rows, t.span, weights.data());
          scores(queries.data(), pool_keys, 0, 1, t.pool, weights.data() + t.local());
          softmax(weights.data(), t, scale, terms);
          scores(slopes_out.data(), values, t.top, t.rows, t.span, slopes.data());
          scores(slopes_out.data(), pool_values, 0, 1, t.pool, slopes.data() + t.local());
          through_softmax(slopes.data(), weights.data(), t, scale, d);
          add_local_weights(weights.data(), t, terms.local_weights);
          slopes_q.assign(TILE * keys.depth, T(0));
          gather(slopes.data(), keys, t.top, t.rows, t.span, slopes_q.data());
          gather(slopes.data() + t.local(), pool_keys, 0, 1, t.pool, slopes_q.data());
          store_tile(slopes_q.data(), d.q, n, h, ys, xs, y, x, t.count, s.dim, keys.depth);
          scatter(slopes.data(), queries.data(), keys, t.top, t.rows, t.span, s.width, sum_k.data());
          scatter(weights.data(), slopes_out.data(), keys, t.top, t.rows, t.span, s.width, sum_v.data());
          scatter(slopes.data() + t.local(), queries.data(), pool_keys, 0, 1, t.pool, s.pooled, sum_k_pool.data());
          scatter(weights.data() + t.local(), slopes_out.data(), pool_keys, 0, 1, t.pool, s.pooled, sum_v_pool.data());
        }
      store_rows(sum_k.data(), keys, d.k, n, h, ys, xs);
      store_rows(sum_v.data(), keys, d.v, n, h, ys, xs);
      store_rows(sum_k_pool.data(), pool_keys, d.k_pool, n, h, one, pool);
      store_rows(sum_v_pool.data(), pool_keys, d.v_pool, n, h, one, pool);
    }
  });
}

// The pooled tensors are [N, 1, P, heads, dim]
Shape shape_of(const Tensor& q, const Tensor& k_pool, int64_t kernel) {
  return {q.size(0), q.size(1), q.size(2), q.size(3), q.size(4), k_pool.size(2), kernel};
}

template <typename T>
Terms<T> terms_of(const Tensor& local_bias, const Tensor& pool_bias, const Tensor& local_weights) {
  return {numbers<T>(local_bias), PoolBias<T>(pool_bias), numbers<T>(local_weights)};
}

template <typename T>
void forward_as(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& k_pool, const Tensor& v_pool,
                const Terms<T>& terms, int64_t kernel, double scale, const Tensor& out) {
  forward<T>(shape_of(q, k_pool, kernel), Map<T>(q), Map<T>(k), Map<T>(v), Map<T>(k_pool), Map<T>(v_pool), terms,
             static_cast<T>(scale), Map<T>(out));
}

void run_forward(Tensor q, Tensor k, Tensor v, Tensor k_pool, Tensor v_pool, Tensor local_bias, Tensor pool_bias,
                 Tensor local_weights, int64_t kernel, double scale, Tensor out) {
  if (q.scalar_type() == ScalarType::Double)
    forward_as(q, k, v, k_pool, v_pool, terms_of<double>(local_bias, pool_bias, local_weights), kernel, scale, out);
  else
    forward_as(q, k, v, k_pool, v_pool, terms_of<float>(local_bias, pool_bias, local_weights), kernel, scale, out);
}

template <typename T>
void backward_as(const Tensor& d_out, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& k_pool,
                 const Tensor& v_pool, const Terms<T>& terms, int64_t kernel, double scale, const Slopes<T>& d) {
  backward<T>(shape_of(q, k_pool, kernel), Map<T>(d_out), Map<T>(q), Map<T>(k), Map<T>(v), Map<T>(k_pool),
              Map<T>(v_pool), terms, static_cast<T>(scale), d);
}

template <typename T>
T* writable(const Tensor& x) {
  return const_cast<T*>(numbers<T>(x));
}

template <typename T>
Slopes<T> slopes_of(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& k_pool, const Tensor& v_pool,
                    const Tensor& local_bias, const Tensor& pool_bias, const Tensor& local_weights) {
  return {Map<T>(q),      Map<T>(k),      Map<T>(v), Map<T>(k_pool), Map<T>(v_pool), writable<T>(local_bias),
          writable<T>(pool_bias), writable<T>(local_weights)};
}

void run_backward(Tensor d_out, Tensor q, Tensor k, Tensor v, Tensor k_pool, Tensor v_pool, Tensor local_bias,
                  Tensor pool_bias, Tensor local_weights, int64_t kernel, double scale, Tensor d_q, Tensor d_k,
                  Tensor d_v, Tensor d_k_pool, Tensor d_v_pool, Tensor d_local_bias, Tensor d_pool_bias,
                  Tensor d_local_weights) {
  if (q.scalar_type() == ScalarType::Double)
    backward_as(d_out, q, k, v, k_pool, v_pool, terms_of<double>(local_bias, pool_bias, local_weights), kernel, scale,
                slopes_of<double>(d_q, d_k, d_v, d_k_pool, d_v_pool, d_local_bias, d_pool_bias, d_local_weights));
  else
    backward_as(d_out, q, k, v, k_pool, v_pool, terms_of<float>(local_bias, pool_bias, local_weights), kernel, scale,
                slopes_of<float>(d_q, d_k, d_v, d_k_pool, d_v_pool, d_local_bias, d_pool_bias, d_local_weights));
}

}  // namespace
}  // namespace foveal

STABLE_TORCH_LIBRARY_FRAGMENT(foveal_cpp, m) {
  m.def(
      "aggregated_attention_forward(Tensor q, Tensor k, Tensor v, Tensor k_pool, Tensor v_pool, Tensor local_bias, "
      "Tensor pool_bias, Tensor local_weights, int kernel, float scale, Tensor(a!) out) -> ()");
  m.def(
      "aggregated_attention_backward(Tensor d_out, Tensor q, Tensor k, Tensor v, Tensor k_pool, Tensor v_pool, "
      "Tensor local_bias, Tensor pool_bias, Tensor local_weights, int kernel, float scale, Tensor(a!) d_q, "
      "Tensor(b!) d_k, Tensor(c!) d_v, Tensor(d!) d_k_pool, Tensor(e!) d_v_pool, Tensor(f!) d_local_bias, "
      "Tensor(g!) d_pool_bias, Tensor(h!) d_local_weights) -> ()");
}

STABLE_TORCH_LIBRARY_IMPL(foveal_cpp, CPU, m) {
  m.impl("aggregated_attention_forward", TORCH_BOX(&foveal::run_forward));
  m.impl("aggregated_attention_backward", TORCH_BOX(&foveal::run_backward));
}
