// What attention to windows shares: maps of heads, rows of keys packed for `block`, and products with a tile of queries.
#pragma once

#include <algorithm>

#include "vec.h"

namespace foveal {

constexpr int64_t TILE = 8;  // queries; TALL divides it

// Positions first, first + step, ... of an axis
struct Line {
  int64_t first, step, count;
  int64_t place(int64_t number) const { return first + number * step; }
};

// [N, H, W, heads, dim] with any strides but one of 1 in dim
template <typename T>
struct Map {
  T* data;
  int64_t strides[4];
  explicit Map(const Tensor& x) : data(static_cast<T*>(x.data_ptr())) {
    for (int i = 0; i < 4; ++i) strides[i] = x.stride(i);
  }
  T* at(int64_t n, int64_t y, int64_t x, int64_t h) const {
    return data + n * strides[0] + y * strides[1] + x * strides[2] + h * strides[3];
  }
};

// Rows of a map, as rows of numbers [row][column][dim] and turned, [row][dim][column]; padded with zeros
template <typename T>
struct Packed {
  int64_t dim, depth, width;
  std::vector<T> plain, turned;

  void fill(const Map<T>& map, int64_t n, int64_t h, int64_t numbers, const Line& ys, const Line& xs, int64_t from,
            int64_t rows, bool keep_plain, bool keep_turned) {
    dim = numbers;
    depth = round_up(dim, WIDE);
    width = xs.count + WIDE + TILE;  // a tile's span may end past the last column
    if (keep_plain) plain.assign(rows * width * depth, T(0));
    if (keep_turned) turned.assign(rows * depth * width, T(0));
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < xs.count; ++c) {
        const T* from_map = map.at(n, ys.place(from + r), xs.place(c), h);
        if (keep_plain) std::copy(from_map, from_map + dim, &plain[(r * width + c) * depth]);
        if (keep_turned)
          for (int64_t d = 0; d < dim; ++d) turned[(r * depth + d) * width + c] = from_map[d];
      }
  }
  const T* row(int64_t r, int64_t c) const { return &plain[(r * width + c) * depth]; }
  const T* turned_row(int64_t r, int64_t c) const { return &turned[r * depth * width + c]; }
};

// Columns of keys that a tile attends to
struct Span {
  int64_t first, columns;  // columns: a multiple of WIDE
};

inline Span span_between(int64_t first, int64_t end) { return {first, round_up(end - first, WIDE)}; }

// x [TILE, depth] times the turned rows [dim, columns] to out [row][TILE][columns]
template <typename T>
void scores(const T* x, const Packed<T>& keys, int64_t from, int64_t rows, const Span& span, T* out) {
  std::fill(out, out + rows * TILE * span.columns, T(0));
  for (int64_t a = 0; a < rows; ++a)
    for (int64_t i = 0; i < TILE; i += TALL)
      for (int64_t c = 0; c < span.columns; c += WIDE)
        block(x + i * keys.depth, keys.depth, 1, keys.turned_row(from + a, span.first + c), keys.width, keys.dim,
              out + (a * TILE + i) * span.columns + c, span.columns);
}

// weights [row][TILE][columns] times the plain rows [columns, depth], added to out [TILE, depth]
template <typename T>
void gather(const T* weights, const Packed<T>& values, int64_t from, int64_t rows, const Span& span, T* out) {
  for (int64_t i = 0; i < TILE; i += TALL)
    for (int64_t d = 0; d < values.depth; d += WIDE)
      for (int64_t a = 0; a < rows; ++a)
        block(weights + (a * TILE + i) * span.columns, span.columns, 1, values.row(from + a, span.first) + d,
              values.depth, span.columns, out + i * values.depth + d, values.depth);
}

// weights [row][TILE][columns], turned, times x [TILE, depth], added to the rows of out, which are packed as `like`'s
template <typename T>
void scatter(const T* weights, const T* x, const Packed<T>& like, int64_t from, int64_t rows, const Span& span,
             int64_t count, T* out) {
  for (int64_t a = 0; a < rows; ++a)
    for (int64_t c = 0; c < span.columns && span.first + c < count; c += TALL)
      for (int64_t d = 0; d < like.depth; d += WIDE)
        block(weights + a * TILE * span.columns + c, 1, span.columns, x + d, like.depth, TILE,
              out + ((from + a) * like.width + span.first + c) * like.depth + d, like.depth);
}

// TILE queries, or fewer and zeros, as [TILE, depth]
template <typename T>
void load_tile(const Map<T>& map, int64_t n, int64_t h, const Line& ys, const Line& xs, int64_t y, int64_t x,
               int64_t queries, int64_t dim, int64_t depth, T* out) {
  std::fill(out, out + TILE * depth, T(0));
  for (int64_t i = 0; i < queries; ++i) {
    const T* from = map.at(n, ys.place(y), xs.place(x + i), h);
    std::copy(from, from + dim, out + i * depth);
  }
}

template <typename T>
void store_tile(const T* tile, const Map<T>& map, int64_t n, int64_t h, const Line& ys, const Line& xs, int64_t y,
                int64_t x, int64_t queries, int64_t dim, int64_t depth) {
  for (int64_t i = 0; i < queries; ++i)
    std::copy(tile + i * depth, tile + i * depth + dim, map.at(n, ys.place(y), xs.place(x + i), h));
}

// Sums packed as `like`'s rows to a map
template <typename T>
void store_rows(const T* sums, const Packed<T>& like, const Map<T>& map, int64_t n, int64_t h, const Line& ys,
                const Line& xs) {
  for (int64_t y = 0; y < ys.count; ++y)
    for (int64_t x = 0; x < xs.count; ++x)
      std::copy_n(sums + (y * like.width + x) * like.depth, like.dim, map.at(n, ys.place(y), xs.place(x), h));
}

template <typename T>
const T* numbers(const Tensor& x) {
  return x.numel() == 0 ? nullptr : static_cast<const T*>(x.data_ptr());
}

}  // namespace foveal
