// Depthwise convolution and both its gradients by one kernel:
//   out[g][c][i][j] = bias[c] + sum over a, b and the images n = g, g + G, ... of
//                     kernel[n][c][a][b] * x[n][c][i * stride + a * dilation - pad][likewise]
// where x's pixels stand `spread` apart with zeros between them. Forward: G is the number of images and all share one
// kernel. Gradient of the input: the turned kernel over the result's gradient, spread by the stride. Gradient of the
// weight: the result's gradient is the kernel, stride and dilation change places, and each g is a part of the sum.
//
// A block holds a tile of one plane's results. It takes a part of the taps at a time and keeps in shared memory those
// taps and the pixels that they meet. A thread holds RUN neighbouring results of DEEP rows in registers. The threads of
// a warp are in different rows, and rows have an odd length in memory, so that they read different banks.
#include <algorithm>
#include <numeric>

#include "launch.cuh"

namespace foveal {
namespace {

constexpr int RUN = 8;

struct Axis {
  int in, out, taps, stride, dilation, pad, spread;
  // Of the tile: taps in a part; image pixels from one kept pixel to the next; kept pixels from one result to the next,
  // and from one tap to the next
  int part, unit, step, gap;

  void take(int taps_of_part) {
    part = taps_of_part;
    unit = part == 1 ? stride : std::gcd(stride, dilation);
    step = stride / unit;
    gap = part == 1 ? 0 : dilation / unit;
  }
  __host__ __device__ int kept(int results, int taps_now) const {
    return (results - 1) * step + (taps_now - 1) * gap + 1;
  }
  // Where a place of the spread image is in memory; -1: nowhere, there it is zero
  __device__ int find(int place) const {
    if (place < 0) return -1;
    if (spread > 1) {
      if (place % spread != 0) return -1;
      place /= spread;
    }
    return place < in ? place : -1;
  }
};

template <class T>
struct Work {
  const T *x, *kernel, *bias;  // bias may be null
  void* out;                   // of T, or of Exact<T> where `exact`
  Strides of_x, of_kernel, of_out;
  Axis h, w;
  int images, kernels, groups, channels, tiles_h, tiles_w;
  bool exact;
};

// SLIDING: neighbouring taps meet neighbouring pixels, as do neighbouring results; a pixel is then read once a row of taps
template <class T, int ROWS, int COLUMNS, int DEEP, bool SLIDING>
__global__ void __launch_bounds__(ROWS* COLUMNS) convolve_tile(const Work<T> work) {
  using A = typename Exact<T>::type;
  constexpr int TALL = ROWS * DEEP, WIDE = COLUMNS * RUN, WARPS = ROWS * COLUMNS / 32;
  extern __shared__ double memory[];
  const Axis &h = work.h, &w = work.w;
  A* const taps = reinterpret_cast<A*>(memory);
  A* const pixels = taps + h.part * w.part;

  int64_t block = blockIdx.x;
  const int left = static_cast<int>(block % work.tiles_w) * WIDE;
  block /= work.tiles_w;
  const int top = static_cast<int>(block % work.tiles_h) * TALL;
  block /= work.tiles_h;
  const int channel = static_cast<int>(block % work.channels), group = static_cast<int>(block / work.channels);
  const int thread = threadIdx.x, warp = thread / 32, lane = thread % 32;
  const int row = thread % ROWS, column = thread / ROWS * RUN;  // in the tile

  A sums[DEEP][RUN] = {};
  for (int image = group; image < work.images; image += work.groups) {
    const T* plane = work.x + image * work.of_x.axis[0] + channel * work.of_x.axis[1];
    const T* kernel = work.kernel + channel * work.of_kernel.axis[1];
    if (work.kernels > 1) kernel += image * work.of_kernel.axis[0];
    for (int a0 = 0; a0 < h.taps; a0 += h.part)
      for (int b0 = 0; b0 < w.taps; b0 += w.part) {
        const int tap_rows = min(h.part, h.taps - a0), tap_columns = min(w.part, w.taps - b0);
        const int high = h.kept(TALL, tap_rows), wide = w.kept(WIDE, tap_columns), pitch = wide | 1;
        __syncthreads();  // all have done with the part before
        for (int a = warp; a < tap_rows; a += WARPS)
          for (int b = lane; b < tap_columns; b += 32)
            taps[a * tap_columns + b] =
                static_cast<A>(kernel[(a0 + a) * work.of_kernel.axis[2] + (b0 + b) * work.of_kernel.axis[3]]);
        for (int r = warp; r < high; r += WARPS) {
          const int i = h.find(top * h.stride + a0 * h.dilation - h.pad + r * h.unit);
          for (int q = lane; q < wide; q += 32) {
            const int j = i < 0 ? -1 : w.find(left * w.stride + b0 * w.dilation - w.pad + q * w.unit);
            pixels[r * pitch + q] =
                j < 0 ? A(0) : static_cast<A>(plane[i * work.of_x.axis[2] + j * work.of_x.axis[3]]);
          }
        }
        __syncthreads();
        for (int a = 0; a < tap_rows; ++a) {
          const A* weights = taps + a * tap_columns;
          const A* from[DEEP];
#pragma unroll
          for (int d = 0; d < DEEP; ++d)
            from[d] = pixels + ((row + d * ROWS) * h.step + a * h.gap) * pitch + column * w.step;
          if (SLIDING) {
            A seen[DEEP][RUN];  // the pixel at place p is in seen[p % RUN]
#pragma unroll
            for (int d = 0; d < DEEP; ++d)
#pragma unroll
              for (int p = 0; p < RUN - 1; ++p) seen[d][p] = from[d][p];
            for (int b = 0; b < tap_columns; b += RUN)
#pragma unroll
              for (int u = 0; u < RUN; ++u)
                if (b + u < tap_columns) {
                  const A weight = weights[b + u];
#pragma unroll
                  for (int d = 0; d < DEEP; ++d) {
                    seen[d][(u + RUN - 1) % RUN] = from[d][b + u + RUN - 1];
#pragma unroll
                    for (int p = 0; p < RUN; ++p) sums[d][p] += weight * seen[d][(u + p) % RUN];
                  }
                }
          } else {
            for (int b = 0; b < tap_columns; ++b) {
              const A weight = weights[b];
#pragma unroll
              for (int d = 0; d < DEEP; ++d)
#pragma unroll
                for (int p = 0; p < RUN; ++p) sums[d][p] += weight * from[d][b * w.gap + p * w.step];
            }
          }
        }
      }
  }

  const A shift = work.bias == nullptr ? A(0) : static_cast<A>(work.bias[channel]);
#pragma unroll
  for (int d = 0; d < DEEP; ++d)
#pragma unroll
    for (int p = 0; p < RUN; ++p) {
      const int i = top + row + d * ROWS, j = left + column + p;
      if (i >= h.out || j >= w.out) continue;
      const int64_t at = group * work.of_out.axis[0] + channel * work.of_out.axis[1] + i * work.of_out.axis[2] +
                         j * work.of_out.axis[3];
      if (work.exact)
        static_cast<A*>(work.out)[at] = sums[d][p] + shift;
      else
        static_cast<T*>(work.out)[at] = static_cast<T>(sums[d][p] + shift);
    }
}

// Take as many taps at a time as fit into `room` bytes, then launch.
template <class T, int ROWS, int COLUMNS, int DEEP>
void launch(Work<T> work, int64_t room, cudaStream_t stream) {
  constexpr int TALL = ROWS * DEEP, WIDE = COLUMNS * RUN;
  Axis &h = work.h, &w = work.w;
  int64_t bytes = 0;
  for (int rows = h.taps, columns = w.taps;; rows > 1 ? rows = (rows + 1) / 2 : columns = (columns + 1) / 2) {
    h.take(rows);
    w.take(columns);
    const int64_t numbers = int64_t(rows) * columns + int64_t(h.kept(TALL, rows)) * (w.kept(WIDE, columns) | 1);
    bytes = numbers * static_cast<int64_t>(sizeof(typename Exact<T>::type));
    if (bytes <= room || rows * columns == 1) break;
  }
  work.tiles_h = (h.out + TALL - 1) / TALL;
  work.tiles_w = (w.out + WIDE - 1) / WIDE;
  const int64_t blocks = int64_t(work.groups) * work.channels * work.tiles_h * work.tiles_w;
  STD_TORCH_CHECK(blocks < (int64_t(1) << 31), "depthwise_conv2d: ", blocks, " tiles are more than a grid has");
  if (w.step == 1 && (w.gap == 1 || w.part == 1))
    convolve_tile<T, ROWS, COLUMNS, DEEP, true><<<blocks, ROWS * COLUMNS, bytes, stream>>>(work);
  else
    convolve_tile<T, ROWS, COLUMNS, DEEP, false><<<blocks, ROWS * COLUMNS, bytes, stream>>>(work);
  check_launch("depthwise_conv2d");
}

Axis axis(const Tensor& x, const Tensor& kernel, const Tensor& out, int at, int64_t stride, int64_t dilation,
          int64_t pad, int64_t spread) {
  const auto number = [](int64_t n) { return static_cast<int>(n); };
  return {number(x.size(at)), number(out.size(at)), number(kernel.size(at)), number(stride), number(dilation),
          number(pad), number(spread), 0, 0, 0, 0};
}

template <class T>
void run_as(const Tensor& x, const Tensor& kernel, const Tensor& bias, const Axis& h, const Axis& w,
            const Tensor& out) {
  const auto number = [](int64_t n) { return static_cast<int>(n); };
  const Work<T> work{static_cast<const T*>(x.data_ptr()),
                     static_cast<const T*>(kernel.data_ptr()),
                     bias.numel() == 0 ? nullptr : static_cast<const T*>(bias.data_ptr()),
                     out.data_ptr(),
                     Strides(x),
                     Strides(kernel),
                     Strides(out),
                     h,
                     w,
                     number(x.size(0)),
                     number(kernel.size(0)),
                     number(out.size(0)),
                     number(x.size(1)),
                     0,
                     0,
                     out.scalar_type() != x.scalar_type()};
  const cudaStream_t stream = current_stream(x);
  if (h.out > 32)  // 64 x 32 results, else 16 x 16, many to a multiprocessor
    launch<T, 32, 4, 2>(work, 48 * 1024, stream);
  else
    launch<T, 16, 2, 1>(work, 16 * 1024, stream);
}

// bias: [C] of x's type, or empty. out: [G, C, H', W'] of x's type or of the type of its sums
void run(Tensor x, Tensor kernel, Tensor bias, int64_t sh, int64_t sw, int64_t dh, int64_t dw, int64_t ph, int64_t pw,
         int64_t spread_h, int64_t spread_w, Tensor out) {
  const torch::stable::accelerator::DeviceGuard guard(x.get_device_index());
  const Axis h = axis(x, kernel, out, 2, sh, dh, ph, spread_h), w = axis(x, kernel, out, 3, sw, dw, pw, spread_w);
  switch (x.scalar_type()) {
    case ScalarType::Double:
      return run_as<double>(x, kernel, bias, h, w, out);
    case ScalarType::Float:
      return run_as<float>(x, kernel, bias, h, w, out);
    case ScalarType::Half:
      return run_as<__half>(x, kernel, bias, h, w, out);
    case ScalarType::BFloat16:
      return run_as<__nv_bfloat16>(x, kernel, bias, h, w, out);
    default:
      STD_TORCH_CHECK(false, "depthwise_conv2d takes float64, float32, float16 and bfloat16");
  }
}

}  // namespace
}  // namespace foveal

STABLE_TORCH_LIBRARY_FRAGMENT(foveal_cuda, m) {
  m.def(
      "depthwise_conv2d(Tensor x, Tensor kernel, Tensor bias, int sh, int sw, int dh, int dw, int ph, int pw, "
      "int spread_h, int spread_w, Tensor(a!) out) -> ()");
}

STABLE_TORCH_LIBRARY_IMPL(foveal_cuda, CUDA, m) { m.impl("depthwise_conv2d", TORCH_BOX(&foveal::run)); }
