// The convolution of one image plane with one kernel, and how its loops are cut: no PyTorch in here.
//
// y[i][j] = sum over a, b of k[a][b] * x[i*s + a*d - p][j*s + b*d - p], x zero outside the plane; s, d and p are the
// axis's own. All three computations of a depthwise convolution are of this form: the gradient of the input takes the
// turned kernel and, where the stride is u, a plane whose rows and columns stand u apart ("spread"); the gradient of the
// weight takes the gradient of the output as the kernel, with stride and dilation in exchanged roles.
//
// A stride s splits the taps of an axis into phases that each are a convolution of stride 1: taps f, f + s/g, f + 2s/g ..
// (g = gcd(s, d)) reach inputs lcm(s, d) apart. Input columns are stored by their remainder modulo s, so that what a tap
// reads for neighbouring outputs is contiguous.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

namespace foveal {
namespace plane_conv {

struct Axis {
  int64_t in, out, taps, stride, dilation, pad, spread;
  int64_t tap_step, out_step, in_step;  // between a phase's taps, the outputs that share inputs, and those inputs
  int64_t phases, extent;               // of the taps; of the input with its spread

  Axis(int64_t in, int64_t out, int64_t taps, int64_t stride, int64_t dilation, int64_t pad, int64_t spread)
      : in(in), out(out), taps(taps), stride(stride), dilation(dilation), pad(pad), spread(spread) {
    const int64_t common = std::gcd(stride, dilation);
    tap_step = stride / common;
    out_step = dilation / common;
    in_step = tap_step * dilation;
    phases = std::min(taps, tap_step);
    extent = (in - 1) * spread + 1;
  }

  int64_t taps_of(int64_t phase) const { return (taps - phase + tap_step - 1) / tap_step; }
};

constexpr int TILE_ROWS[5] = {0, 7, 6, 4, 3};  // output rows held in registers, by vectors in a row: 7 to 12 sums

// The taps of a phase that touch the image from anywhere in a segment.
struct Taps {
  int64_t count;
  int64_t in, weights;  // where the first of them begins: from the segment's column, and in the reordered kernel
};

struct Segment {
  int64_t column;
  int vectors;
  std::vector<Taps> taps;  // one for each phase of the columns
};

// How a plane is computed with vectors of `lanes` numbers; the same for all planes of a call.
struct Plan {
  Axis h, w;
  int64_t lanes, tile_rows;
  std::vector<Segment> segments;
  int64_t phase_length, row_length, out_length;       // of the stored rows: of one remainder, of all, of the result
  std::vector<int64_t> h_order, w_order;              // the taps, phase after phase
  std::vector<int64_t> h_begin, w_begin;              // where each phase begins in them

  Plan(const Axis& h, const Axis& w, int64_t lanes) : h(h), w(w), lanes(lanes) {
    out_length = (w.out + lanes - 1) / lanes * lanes;
    phase_length = out_length + (w.taps - 1) * w.dilation / w.stride + 1;
    row_length = phase_length * w.stride;
    order(h, h_order, h_begin);
    order(w, w_order, w_begin);
    int best = 1;
    double least = 0;
    for (int vectors = 1; vectors <= 4; ++vectors) {
      const double cost = price(vectors);
      if (vectors == 1 || cost < least) best = vectors, least = cost;
    }
    segments = cut(best);
    tile_rows = TILE_ROWS[best];
    for (int64_t phase = 0; phase < h.phases; ++phase) tile_rows = std::min(tile_rows, h.taps_of(phase));
  }

  int64_t plane_size() const { return h.in * row_length; }
  int64_t out_size() const { return h.out * out_length; }

  // Where the plane's column is stored in its row, or -1 where nothing reads it.
  int64_t place(int64_t column) const {
    const int64_t at = column * w.spread + w.pad;
    if (at < 0 || at / w.stride >= phase_length) return -1;
    return at % w.stride * phase_length + at / w.stride;
  }

 private:
  static void order(const Axis& axis, std::vector<int64_t>& taps, std::vector<int64_t>& begin) {
    for (int64_t phase = 0; phase < axis.phases; ++phase) {
      begin.push_back(taps.size());
      for (int64_t tap = phase; tap < axis.taps; tap += axis.tap_step) taps.push_back(tap);
    }
  }

  // About the cycles for one row of results. A turn of the inner loop takes the time of its multiplications (two
  // vectors a cycle, 1.3 with their loads), at least that of one (4); the first and last turns serve part of the rows.
  double price(int vectors) const {
    const int64_t rows = std::min<int64_t>(TILE_ROWS[vectors], h.out);
    double sum = 0;
    for (const Segment& segment : cut(vectors)) {
      double cycles = 0, turns = 0;
      for (int64_t t = 0; t < h.taps + rows - 1; ++t) {
        const int64_t active = std::min(rows - 1, t) - std::max<int64_t>(0, t - h.taps + 1) + 1;
        cycles += std::max(4.0, 0.65 * double(active * segment.vectors));
      }
      for (const Taps& taps : segment.taps) turns += double(taps.count);
      sum += cycles * turns / double(rows);
    }
    return sum;
  }

  std::vector<Segment> cut(int vectors) const {
    std::vector<Segment> made;
    for (int64_t column = 0; column < w.out;) {
      const int64_t left = (w.out - column + lanes - 1) / lanes;
      Segment segment{column, int(std::min<int64_t>(vectors, left)), {}};
      const int64_t last = std::min(w.out, column + segment.vectors * lanes) - 1;
      for (int64_t phase = 0; phase < w.phases; ++phase) {
        const int64_t first = phase * w.dilation - w.pad, count = w.taps_of(phase);
        int64_t begin = 0, end = count;
        while (begin < count && last * w.stride + first + begin * w.in_step < 0) ++begin;
        while (end > begin && column * w.stride + first + (end - 1) * w.in_step >= w.extent) --end;
        const int64_t reach = phase * w.dilation;
        const Taps taps{
            end - begin, reach % w.stride * phase_length + reach / w.stride + begin * w.out_step,
            (w_begin[phase] + begin) * h.taps};
        segment.taps.push_back(taps);
      }
      made.push_back(segment);
      column += segment.vectors * lanes;
    }
    return made;
  }
};

// A vector of the processor's own length, at any address.
#if defined(__AVX512F__)
constexpr int64_t BYTES = 64;
#elif defined(__AVX__)
constexpr int64_t BYTES = 32;
#else
constexpr int64_t BYTES = 16;
#endif
template <class T>
struct Register {
  typedef T type __attribute__((vector_size(BYTES), aligned(alignof(T)), may_alias));
};
template <class T>
using Vec = typename Register<T>::type;
template <class T>
constexpr int64_t LANES = BYTES / sizeof(T);
template <int VECTORS>
using Rows = std::make_integer_sequence<int, TILE_ROWS[VECTORS]>;

// Adds to the sums of output rows LOW..HIGH what one input row gives them. Every input vector is loaded once for all
// of these rows; `weights` holds the taps column by column, so that the rows' weights stand side by side.
template <class T, int ROWS, int VECTORS, int LOW, int HIGH>
inline __attribute__((always_inline)) void add_row(
    Vec<T> (&sums)[ROWS][VECTORS], const T* in, const T* weights, int64_t count, int64_t in_step, int64_t weight_step) {
  for (; count > 0; --count, in += in_step, weights += weight_step) {
    Vec<T> x[VECTORS];
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; ++v) x[v] = *reinterpret_cast<const Vec<T>*>(in + v * LANES<T>);
#pragma GCC unroll 8
    for (int r = LOW; r <= HIGH; ++r) {
      const T weight = weights[-r];
#pragma GCC unroll 4
      for (int v = 0; v < VECTORS; ++v) sums[r][v] += weight * x[v];
    }
  }
}

// One segment of a row of tiles: what its loops read at every turn.
template <class T>
struct Reach {
  const T* plane;    // at the segment's first column
  const T* weights;  // at the phase's first tap
  int64_t first;     // input row of the first tap of the first output row
};

// The input row that tap `t` of the tile's first output row reads, if the image has it.
template <class T, int ROWS, int VECTORS, int LOW, int HIGH>
inline __attribute__((always_inline)) void visit(
    const Plan& plan, const Segment& segment, const Reach<T>& reach, int64_t t, Vec<T> (&sums)[ROWS][VECTORS]) {
  const Axis &h = plan.h, &w = plan.w;
  int64_t y = reach.first + t * h.in_step;
  if (y < 0 || y >= h.extent) return;
  if (h.spread > 1) {
    if (y % h.spread) return;
    y /= h.spread;
  }
  const T* row = reach.plane + y * plan.row_length;
  for (size_t side = 0; side < segment.taps.size(); ++side) {
    const Taps& taps = segment.taps[side];
    add_row<T, ROWS, VECTORS, LOW, HIGH>(
        sums, row + taps.in, reach.weights + taps.weights + t, taps.count, w.out_step, h.taps);
  }
}

template <class T, int ROWS, int VECTORS, int... STEPS>
inline __attribute__((always_inline)) void visit_first(
    std::integer_sequence<int, STEPS...>, const Plan& plan, const Segment& segment, const Reach<T>& reach,
    Vec<T> (&sums)[ROWS][VECTORS]) {
  (visit<T, ROWS, VECTORS, 0, STEPS>(plan, segment, reach, STEPS, sums), ...);
}

template <class T, int ROWS, int VECTORS, int... STEPS>
inline __attribute__((always_inline)) void visit_last(
    std::integer_sequence<int, STEPS...>, const Plan& plan, const Segment& segment, const Reach<T>& reach, int64_t taps,
    Vec<T> (&sums)[ROWS][VECTORS]) {
  (visit<T, ROWS, VECTORS, STEPS + 1, ROWS - 1>(plan, segment, reach, taps + STEPS, sums), ...);
}

// ROWS output rows of one segment, `top` the first of them; every phase has at least as many taps.
template <class T, int ROWS, int VECTORS>
void tile(
    const Plan& plan, const Segment& segment, int64_t top, const T* plane, const T* weights, bool add, T* out) {
  const Axis& h = plan.h;
  const int64_t down = h.out_step * plan.out_length;
  out += top * plan.out_length + segment.column;
  Vec<T> sums[ROWS][VECTORS];
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; ++v)
      sums[r][v] = add ? *reinterpret_cast<Vec<T>*>(out + r * down + v * LANES<T>) : Vec<T>{};
  for (size_t phase = 0; phase < plan.h_begin.size(); ++phase) {
    const int64_t taps = h.taps_of(phase);
    const Reach<T> reach{
        plane + segment.column, weights + plan.h_begin[phase],
        top * h.stride + int64_t(phase) * h.dilation - h.pad};
    // The first and last input rows reach some of the output rows only.
    visit_first<T, ROWS, VECTORS>(std::make_integer_sequence<int, ROWS - 1>(), plan, segment, reach, sums);
    for (int64_t t = ROWS - 1; t < taps; ++t) visit<T, ROWS, VECTORS, 0, ROWS - 1>(plan, segment, reach, t, sums);
    visit_last<T, ROWS, VECTORS>(std::make_integer_sequence<int, ROWS - 1>(), plan, segment, reach, taps, sums);
  }
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; ++v) *reinterpret_cast<Vec<T>*>(out + r * down + v * LANES<T>) = sums[r][v];
}

template <class T, int VECTORS, int... LESS>
void tile_of(
    std::integer_sequence<int, LESS...>, int64_t rows, const Plan& plan, const Segment& segment, int64_t top,
    const T* plane, const T* weights, bool add, T* out) {
  (void)((rows == LESS + 1 && (tile<T, LESS + 1, VECTORS>(plan, segment, top, plane, weights, add, out), true)) || ...);
}

// plane: [h.in, row_length], its columns at Plan::place; weights: [w.taps, h.taps] in the plan's orders;
// out: [h.out, out_length], added to where `add` says so.
template <class T>
void convolve_plane(const Plan& plan, const T* plane, const T* weights, bool add, T* out) {
  const int64_t step = plan.h.out_step;
  for (int64_t residue = 0; residue < std::min(step, plan.h.out); ++residue) {
    const int64_t height = (plan.h.out - residue + step - 1) / step;
    const int64_t tiles = (height + plan.tile_rows - 1) / plan.tile_rows;
    for (int64_t index = 0; index < tiles; ++index) {  // of equal height, so that none has few sums
      const int64_t begin = height * index / tiles, rows = height * (index + 1) / tiles - begin;
      for (const Segment& segment : plan.segments) {
        const int64_t top = residue + begin * step;
        switch (segment.vectors) {
          case 1: tile_of<T, 1>(Rows<1>(), rows, plan, segment, top, plane, weights, add, out); break;
          case 2: tile_of<T, 2>(Rows<2>(), rows, plan, segment, top, plane, weights, add, out); break;
          case 3: tile_of<T, 3>(Rows<3>(), rows, plan, segment, top, plane, weights, add, out); break;
          default: tile_of<T, 4>(Rows<4>(), rows, plan, segment, top, plane, weights, add, out); break;
        }
      }
    }
  }
}

}  // namespace plane_conv
}  // namespace foveal
