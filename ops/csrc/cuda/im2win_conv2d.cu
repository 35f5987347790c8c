// Convolution in window order on NVIDIA GPUs, after Im2win on GPU (arXiv:2306.14316). One kernel stores, for each row of
// results, the strip of the image that its windows lie in, column after column with the channels innermost; each window
// is then contiguous. The other multiplies windows with kernels as a matrix product does: a block holds a tile of
// results, DEPTH numbers of its windows and kernels at a time are in shared memory while the next DEPTH arrive in a
// second buffer, and a thread holds 4 x 8 results in registers.
#include "launch.cuh"

namespace foveal {
namespace {

constexpr int KERNELS = 64, WINDOWS = 128, DEPTH = 16, THREADS = 256;
constexpr int SQUARE = 32, ROWS = 8;  // of the transposition

struct Shape {
  int images, channels, height, width, kh, kw, sh, sw, ph, pw, out_channels, out_height, out_width;
  __host__ __device__ int padded_width() const { return width + 2 * pw; }
  __host__ __device__ int column() const { return kh * channels; }  // numbers of a strip's column
  __host__ __device__ int window() const { return kw * column(); }
  __host__ __device__ int64_t strip() const { return int64_t(padded_width()) * column(); }
  __host__ __device__ int64_t windows() const { return int64_t(images) * out_height * out_width; }
};

// strips: [images, out_height, padded_width, kh, channels]. A block turns SQUARE columns of SQUARE channels, of one of a
// strip's kh rows, by way of shared memory: both what it reads and what it writes are then neighbours.
__global__ void __launch_bounds__(SQUARE* ROWS)
    store_strips(const Shape s, const float* x, const Strides of_x, float* strips) {
  __shared__ float square[SQUARE][SQUARE + 1];
  int64_t block = blockIdx.x;
  const int u = static_cast<int>(block % s.kh);
  block /= s.kh;
  const int i = static_cast<int>(block % s.out_height), n = static_cast<int>(block / s.out_height);
  const int first_column = blockIdx.y * SQUARE, first_channel = blockIdx.z * SQUARE;
  const int across = threadIdx.x % SQUARE, down = threadIdx.x / SQUARE;
  const int row = i * s.sh + u - s.ph, j = first_column + across - s.pw;
  const bool inside = row >= 0 && row < s.height && j >= 0 && j < s.width;
  for (int k = down; k < SQUARE; k += ROWS) {
    const int c = first_channel + k;
    square[k][across] = inside && c < s.channels ? x[n * of_x.axis[0] + c * of_x.axis[1] + row * of_x.axis[2] +
                                                     j * of_x.axis[3]]
                                                 : 0.0f;
  }
  __syncthreads();
  float* const strip = strips + (int64_t(n) * s.out_height + i) * s.strip() + u * s.channels;
  for (int k = down; k < SQUARE; k += ROWS) {
    const int q = first_column + k, c = first_channel + across;
    if (q < s.padded_width() && c < s.channels) strip[int64_t(q) * s.column() + c] = square[across][k];
  }
}

// Start to copy COUNT floats to shared memory, zeros where there are none; `from` is an address that exists anyway.
template <int COUNT>
__device__ inline void start_copy(float* to, const float* from, bool there) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(address), "l"(from), "n"(COUNT * 4),
               "r"(there ? COUNT * 4 : 0)
               : "memory");
#else
  for (int i = 0; i < COUNT; ++i) to[i] = there ? from[i] : 0.0f;
#endif
}

__device__ inline void wait_for_copies() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}

// kernels: [window, padded], zeros beyond the last kernel, padded a multiple of KERNELS; bias may be null
__global__ void __launch_bounds__(THREADS)
    multiply(const Shape s, const float* strips, const float* kernels, int padded, const float* bias, float* out,
             const Strides of_out) {
  __shared__ __align__(16) float some_kernels[2][DEPTH][KERNELS];
  __shared__ __align__(16) float some_windows[2][DEPTH][WINDOWS + 4];
  const int tiles = padded / KERNELS, thread = threadIdx.x;
  const int first_kernel = static_cast<int>(blockIdx.x % tiles) * KERNELS;
  const int64_t first_window = static_cast<int64_t>(blockIdx.x / tiles) * WINDOWS;

  // What this thread copies each time: four neighbouring kernels, and the number at `depth` of eight windows
  const int kernel_depth = thread / (KERNELS / 4), kernel = thread % (KERNELS / 4) * 4;
  const int depth = thread % DEPTH, window = thread / DEPTH;
  constexpr int STRIDE = THREADS / DEPTH, COPIES = WINDOWS / STRIDE;
  int64_t starts[COPIES];  // -1 beyond the last window
#pragma unroll
  for (int e = 0; e < COPIES; ++e) {
    const int64_t at = first_window + window + e * STRIDE, row = at / s.out_width;
    starts[e] = at < s.windows() ? row * s.strip() + (at - row * s.out_width) * s.sw * s.column() : -1;
  }
  const auto fetch = [&](int k0, int buffer) {
    const bool kernel_there = k0 + kernel_depth < s.window(), there = k0 + depth < s.window();
    start_copy<4>(&some_kernels[buffer][kernel_depth][kernel],
                  kernel_there ? kernels + int64_t(k0 + kernel_depth) * padded + first_kernel + kernel : kernels,
                  kernel_there);
#pragma unroll
    for (int e = 0; e < COPIES; ++e) {
      const bool real = there && starts[e] >= 0;
      start_copy<1>(&some_windows[buffer][depth][window + e * STRIDE],
                    real ? strips + starts[e] + k0 + depth : strips, real);
    }
  };

  // What it computes: kernels y .. y + 3 with windows x .. x + 3 and WINDOWS / 2 further on
  const int y = thread / 16 * 4, x = thread % 16 * 4;
  float sums[4][8] = {};
  fetch(0, 0);
  for (int k0 = 0, buffer = 0; k0 < s.window(); k0 += DEPTH, buffer ^= 1) {
    wait_for_copies();
    __syncthreads();  // all copies are there, and all threads have done with the other buffer
    if (k0 + DEPTH < s.window()) fetch(k0 + DEPTH, buffer ^ 1);
#pragma unroll
    for (int k = 0; k < DEPTH; ++k) {
      const float4 a = *reinterpret_cast<const float4*>(&some_kernels[buffer][k][y]);
      const float4 b = *reinterpret_cast<const float4*>(&some_windows[buffer][k][x]);
      const float4 c = *reinterpret_cast<const float4*>(&some_windows[buffer][k][WINDOWS / 2 + x]);
      const float left[4] = {a.x, a.y, a.z, a.w};
      const float right[8] = {b.x, b.y, b.z, b.w, c.x, c.y, c.z, c.w};
#pragma unroll
      for (int p = 0; p < 4; ++p)
#pragma unroll
        for (int q = 0; q < 8; ++q) sums[p][q] += left[p] * right[q];
    }
  }

#pragma unroll
  for (int q = 0; q < 8; ++q) {
    const int64_t at = first_window + x + q % 4 + q / 4 * (WINDOWS / 2);
    if (at >= s.windows()) continue;
    const int64_t row = at / s.out_width, n = row / s.out_height;
    float* const to = out + n * of_out.axis[0] + (row - n * s.out_height) * of_out.axis[2] +
                      (at - row * s.out_width) * of_out.axis[3];
#pragma unroll
    for (int p = 0; p < 4; ++p) {
      const int m = first_kernel + y + p;
      if (m < s.out_channels) to[m * of_out.axis[1]] = sums[p][q] + (bias == nullptr ? 0.0f : bias[m]);
    }
  }
}

// float32 throughout. kernels: [kw * kh * C, padded]; bias: [C'] or empty; strips: [N, H', W + 2 * pw, kh, C], written here
void run_im2win(Tensor x, Tensor kernels, Tensor bias, int64_t kh, int64_t kw, int64_t sh, int64_t sw, int64_t ph,
                int64_t pw, Tensor strips, Tensor out) {
  const torch::stable::accelerator::DeviceGuard guard(x.get_device_index());
  const auto number = [](int64_t n) { return static_cast<int>(n); };
  const Shape s{number(x.size(0)),   number(x.size(1)),   number(x.size(2)),  number(x.size(3)), number(kh),
                number(kw),          number(sh),          number(sw),         number(ph),        number(pw),
                number(out.size(1)), number(out.size(2)), number(out.size(3))};
  const cudaStream_t stream = current_stream(x);
  const int64_t rows = int64_t(s.images) * s.out_height * s.kh, padded = kernels.size(1);
  const int64_t tiles = (s.windows() + WINDOWS - 1) / WINDOWS * (padded / KERNELS);
  const int64_t columns = (s.padded_width() + SQUARE - 1) / SQUARE, depths = s.channels / SQUARE + (s.channels % SQUARE != 0 || s.channels == 0);
  STD_TORCH_CHECK(rows < (int64_t(1) << 31) && tiles < (int64_t(1) << 31) && columns < 65536 && depths < 65536,
                  "im2win_conv2d: the image is larger than a grid");
  const dim3 squares(rows, columns, depths);
  float* const strip = static_cast<float*>(strips.data_ptr());
  const float* const image = static_cast<const float*>(x.data_ptr());
  store_strips<<<squares, SQUARE * ROWS, 0, stream>>>(s, image, Strides(x), strip);
  check_launch("im2win_conv2d");
  const float* const weights = static_cast<const float*>(kernels.data_ptr());
  const float* const shift = bias.numel() == 0 ? nullptr : static_cast<const float*>(bias.data_ptr());
  float* const result = static_cast<float*>(out.data_ptr());
  multiply<<<tiles, THREADS, 0, stream>>>(s, strip, weights, padded, shift, result, Strides(out));
  check_launch("im2win_conv2d");
}

}  // namespace
}  // namespace foveal

STABLE_TORCH_LIBRARY_FRAGMENT(foveal_cuda, m) {
  m.def(
      "im2win_conv2d(Tensor x, Tensor kernels, Tensor bias, int kh, int kw, int sh, int sw, int ph, int pw, "
      "Tensor(a!) strips, Tensor(b!) out) -> ()");
}

STABLE_TORCH_LIBRARY_IMPL(foveal_cuda, CUDA, m) { m.impl("im2win_conv2d", TORCH_BOX(&foveal::run_im2win)); }
