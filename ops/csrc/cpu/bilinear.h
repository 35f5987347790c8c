// One bilinear sample on the CPU: where it reads, what share each pixel has, and vectors of channels.
#pragma once

#pragma GCC diagnostic ignored "-Wpsabi"  // vectors are never passed between libraries

#include <cmath>
#include <cstdint>
#include <cstring>

namespace foveal {

// 32 bytes of numbers; the compiler takes narrower registers where it has to. It would not reorder a sum by itself, as
// the dot products below need.
template <typename T>
struct Lanes {
  static constexpr int64_t count = 32 / sizeof(T);
  typedef T Vector __attribute__((vector_size(32)));
};

template <typename T>
inline typename Lanes<T>::Vector load(const T* from) {
  typename Lanes<T>::Vector read;
  std::memcpy(&read, from, sizeof(read));
  return read;
}

template <typename T>
inline void store(T* to, const typename Lanes<T>::Vector& numbers) {
  std::memcpy(to, &numbers, sizeof(numbers));
}

// The four pixels around a point. One outside the image has no share, and its row is that of pixel 0, which can be read.
template <typename T>
struct Corners {
  int64_t pixel[4];
  T share[4];
  bool inside[4];
  T right, below;

  inline Corners(T x, T y, int64_t height, int64_t width) {
    // also turns away what is not a number
    const bool near = x > T(-1) && y > T(-1) && x < T(width) && y < T(height);
    const int64_t left = near ? static_cast<int64_t>(std::floor(x)) : 0;
    const int64_t top = near ? static_cast<int64_t>(std::floor(y)) : 0;
    right = near ? x - T(left) : T(0);
    below = near ? y - T(top) : T(0);
    for (int corner = 0; corner < 4; ++corner) {
      const int64_t row = top + corner / 2, column = left + corner % 2;
      inside[corner] = near && row >= 0 && row < height && column >= 0 && column < width;
      pixel[corner] = inside[corner] ? row * width + column : 0;
      const T rows = corner / 2 ? below : 1 - below, columns = corner % 2 ? right : 1 - right;
      share[corner] = inside[corner] ? rows * columns : T(0);
    }
  }

  inline bool any() const {
    return inside[0] || inside[1] || inside[2] || inside[3];
  }
};

// What a gradient says at the four pixels of a point, put together.
template <typename T>
struct PointGradient {
  T value = 0, x = 0, y = 0;

  inline PointGradient(const Corners<T>& at, const T* dots) {
    for (int corner = 0; corner < 4; ++corner) {
      if (!at.inside[corner]) continue;
      const T rows = corner / 2 ? at.below : 1 - at.below, columns = corner % 2 ? at.right : 1 - at.right;
      value += dots[corner] * rows * columns;
      x += dots[corner] * (corner % 2 ? rows : -rows);
      y += dots[corner] * (corner / 2 ? columns : -columns);
    }
  }
};

// out[c] (+)= scale * (sample at the point)[c]
template <typename T, bool accumulate>
inline void sample(T* out, const T* image, int64_t stride, const Corners<T>& at, T scale, int64_t channels) {
  const T* rows[4];
  T shares[4];
  for (int corner = 0; corner < 4; ++corner) {
    rows[corner] = image + at.pixel[corner] * stride;
    shares[corner] = at.share[corner] * scale;
  }
  constexpr int64_t step = Lanes<T>::count;
  int64_t c = 0;
  for (; c + step <= channels; c += step) {
    typename Lanes<T>::Vector sum = load(rows[0] + c) * shares[0];
    sum += load(rows[1] + c) * shares[1];
    sum += load(rows[2] + c) * shares[2];
    sum += load(rows[3] + c) * shares[3];
    if (accumulate) sum += load(out + c);
    store(out + c, sum);
  }
  for (; c < channels; ++c) {
    const T sum = rows[0][c] * shares[0] + rows[1][c] * shares[1] + rows[2][c] * shares[2] + rows[3][c] * shares[3];
    out[c] = accumulate ? out[c] + sum : sum;
  }
}

// Adds scale * share * grad[c] to the gradient of the four pixels, and returns grad . pixel for each of them.
template <typename T>
inline void scatter(
    T* grad_image, const T* image, int64_t stride, const Corners<T>& at, T scale, const T* grad, int64_t channels,
    T* dots) {
  constexpr int64_t step = Lanes<T>::count;
  for (int corner = 0; corner < 4; ++corner) {
    dots[corner] = 0;
    if (!at.inside[corner]) continue;
    const T* row = image + at.pixel[corner] * stride;
    T* grad_row = grad_image + at.pixel[corner] * stride;
    const T factor = at.share[corner] * scale;
    typename Lanes<T>::Vector sums = {};
    T sum = 0;
    int64_t c = 0;
    for (; c + step <= channels; c += step) {
      const typename Lanes<T>::Vector here = load(grad + c);
      sums += here * load(row + c);
      store(grad_row + c, load(grad_row + c) + here * factor);
    }
    for (; c < channels; ++c) {
      sum += grad[c] * row[c];
      grad_row[c] += grad[c] * factor;
    }
    for (int64_t lane = 0; lane < step; ++lane) sum += sums[lane];
    dots[corner] = sum;
  }
}

}  // namespace foveal
