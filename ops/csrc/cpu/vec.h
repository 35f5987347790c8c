// What the kernels share: scalars, a vectorisable exponential, and two blocks of multiply-adds held in registers.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

namespace foveal {

using torch::stable::Tensor;
using ScalarType = torch::headeronly::ScalarType;

constexpr int64_t WIDE = 16;  // numbers in a row of a block: two vectors of AVX2 floats
constexpr int64_t TALL = 4;   // rows of a block

inline int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

// exp for x <= 0, to 2 ulp; a loop over it is vectorised, which one over std::exp is not
inline float exp_negative(float x) {
  x = x < -87.0f ? -87.0f : x;
  const float n = std::nearbyintf(x * 1.44269504f);
  float r = std::fma(n, -0.693359375f, x);
  r = std::fma(n, 2.12194440e-4f, r);
  float y = 1.9875691500e-4f;
  y = std::fma(y, r, 1.3981999507e-3f);
  y = std::fma(y, r, 8.3334519073e-3f);
  y = std::fma(y, r, 4.1665795894e-2f);
  y = std::fma(y, r, 1.6666665459e-1f);
  y = std::fma(y, r, 5.0000001201e-1f);
  y = std::fma(y * r, r, r + 1.0f);
  const int32_t bits = (static_cast<int32_t>(n) + 127) << 23;
  float power;
  std::memcpy(&power, &bits, sizeof power);
  return y * power;
}

inline double exp_negative(double x) { return std::exp(x); }

// 32 bytes of numbers at any address; the compiler splits or joins them for the processor's registers
template <typename T>
struct Vector {
  typedef T type __attribute__((vector_size(32), aligned(alignof(T)), may_alias));
};

// c[i][j] += sum over p of a[i * lda + p * step] * b[p * ldb + j] for TALL rows i and WIDE columns j
template <typename T>
inline void block(const T* __restrict a, int64_t lda, int64_t step, const T* __restrict b, int64_t ldb, int64_t depth,
                  T* __restrict c, int64_t ldc) {
  using V = typename Vector<T>::type;
  constexpr int64_t LANES = 32 / sizeof(T), VECTORS = WIDE / LANES;
  V acc[TALL][VECTORS];
#pragma GCC unroll 4
  for (int64_t i = 0; i < TALL; ++i)
#pragma GCC unroll 4
    for (int64_t j = 0; j < VECTORS; ++j) acc[i][j] = *reinterpret_cast<const V*>(c + i * ldc + j * LANES);
  for (int64_t p = 0; p < depth; ++p) {
    V row[VECTORS];
#pragma GCC unroll 4
    for (int64_t j = 0; j < VECTORS; ++j) row[j] = *reinterpret_cast<const V*>(b + p * ldb + j * LANES);
#pragma GCC unroll 4
    for (int64_t i = 0; i < TALL; ++i) {
      const T x = a[i * lda + p * step];
#pragma GCC unroll 4
      for (int64_t j = 0; j < VECTORS; ++j) acc[i][j] += x * row[j];
    }
  }
#pragma GCC unroll 4
  for (int64_t i = 0; i < TALL; ++i)
#pragma GCC unroll 4
    for (int64_t j = 0; j < VECTORS; ++j) *reinterpret_cast<V*>(c + i * ldc + j * LANES) = acc[i][j];
}

}  // namespace foveal
