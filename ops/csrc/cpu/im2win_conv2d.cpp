// Convolution in window order. A task is some rows of results of one image: it stores the strip of the image that each
// row's windows lie in, column after column with the channels innermost, so that every window is contiguous; then windows
// and panels of WIDE kernels meet in blocks of registers, a stretch of the windows at a time that stays in the cache.
#include <algorithm>

#include "vec.h"

namespace foveal {
namespace {

constexpr int64_t STRETCH = 256;  // numbers of a window in one pass
constexpr int64_t WINDOWS = 96;   // about as many share a pass over the kernels

struct Shape {
  int64_t channels, height, width, kh, kw, sh, sw, ph, pw, out_channels, out_height, out_width;
  int64_t column() const { return kh * channels; }                      // numbers of a strip's column
  int64_t strip() const { return (width + 2 * pw) * column(); }
  int64_t window() const { return kw * column(); }
};

// What row `y` of the results reads; `strip` is zero where the image has nothing
template <typename T>
void store_strip(const Shape& s, const T* x, const int64_t* strides, int64_t y, T* strip) {
  std::fill(strip, strip + s.strip(), T(0));
  for (int64_t u = 0; u < s.kh; ++u) {
    const int64_t row = y * s.sh + u - s.ph;
    if (row < 0 || row >= s.height) continue;
    for (int64_t first = 0; first < s.channels; first += WIDE) {
      const int64_t last = std::min(first + WIDE, s.channels);
      for (int64_t j = 0; j < s.width; ++j) {
        const T* from = x + row * strides[2] + j * strides[3];
        T* to = strip + (j + s.pw) * s.column() + u * s.channels;
        for (int64_t c = first; c < last; ++c) to[c] = from[c * strides[1]];
      }
    }
  }
}

// Kernels in window order, WIDE of them side by side: [out_channels / WIDE, window, WIDE], zeros beyond the last one
template <typename T>
std::vector<T> store_panels(const Shape& s, const Tensor& weight) {
  const T* w = static_cast<const T*>(weight.data_ptr());
  int64_t from[4];
  for (int i = 0; i < 4; ++i) from[i] = weight.stride(i);
  std::vector<T> panels(round_up(s.out_channels, WIDE) * s.window());
  torch::stable::parallel_for(0, (s.out_channels + WIDE - 1) / WIDE, 1, [&](int64_t begin, int64_t end) {
    for (int64_t panel = begin; panel < end; ++panel) {
      const int64_t first = panel * WIDE, count = std::min(WIDE, s.out_channels - first);
      for (int64_t c = 0; c < s.channels; ++c)
        for (int64_t u = 0; u < s.kh; ++u)
          for (int64_t v = 0; v < s.kw; ++v) {
            const T* in = w + first * from[0] + c * from[1] + u * from[2] + v * from[3];
            T* to = &panels[first * s.window() + ((v * s.kh + u) * s.channels + c) * WIDE];
            for (int64_t o = 0; o < count; ++o) to[o] = in[o * from[0]];
          }
    }
  });
  return panels;
}

// bias may be null
template <typename T>
void convolve(const Shape& s, const Tensor& image, const Tensor& weight, const T* bias, const Tensor& out) {
  const std::vector<T> panels = store_panels<T>(s, weight);
  const T* x = static_cast<const T*>(image.data_ptr());
  T* y = static_cast<T*>(out.data_ptr());
  int64_t from[4], to[4];
  for (int i = 0; i < 4; ++i) from[i] = image.stride(i), to[i] = out.stride(i);
  const int64_t rows = std::min(s.out_height, std::max<int64_t>(1, WINDOWS / s.out_width));
  const int64_t parts = (s.out_height + rows - 1) / rows, wide = round_up(s.out_width, TALL), step = s.sw * s.column();
  torch::stable::parallel_for(0, image.size(0) * parts, 1, [&](int64_t begin, int64_t end) {
    std::vector<T> strips(rows * s.strip() + TALL * step);  // a block may read past the last window
    std::vector<T> sums(rows * wide * WIDE);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t n = task / parts, top = task % parts * rows, count = std::min(rows, s.out_height - top);
      for (int64_t r = 0; r < count; ++r) store_strip(s, x + n * from[0], from, top + r, &strips[r * s.strip()]);
      for (int64_t first = 0; first < s.out_channels; first += WIDE) {
        const T* panel = &panels[first * s.window()];
        std::fill(sums.begin(), sums.end(), T(0));
        for (int64_t k = 0; k < s.window(); k += STRETCH)
          for (int64_t r = 0; r < count; ++r)
            for (int64_t j = 0; j < s.out_width; j += TALL)
              block(&strips[r * s.strip() + j * step + k], step, 1, panel + k * WIDE, WIDE,
                    std::min(STRETCH, s.window() - k), &sums[(r * wide + j) * WIDE], WIDE);
        const int64_t kernels = std::min(WIDE, s.out_channels - first);
        for (int64_t r = 0; r < count; ++r)
          for (int64_t c = 0; c < kernels; ++c) {
            T* line = y + n * to[0] + (first + c) * to[1] + (top + r) * to[2];
            const T shift = bias == nullptr ? T(0) : bias[first + c];
            for (int64_t j = 0; j < s.out_width; ++j) line[j * to[3]] = sums[(r * wide + j) * WIDE + c] + shift;
          }
      }
    }
  });
}

template <typename T>
void run_as(const Shape& s, const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& out) {
  convolve<T>(s, x, weight, bias.numel() == 0 ? nullptr : static_cast<const T*>(bias.data_ptr()), out);
}

void run_im2win(Tensor x, Tensor weight, Tensor bias, int64_t sh, int64_t sw, int64_t ph, int64_t pw, Tensor out) {
  const Shape s{x.size(1), x.size(2), x.size(3), weight.size(2), weight.size(3), sh, sw, ph, pw,
                out.size(1), out.size(2), out.size(3)};
  if (x.scalar_type() == ScalarType::Double)
    run_as<double>(s, x, weight, bias, out);
  else
    run_as<float>(s, x, weight, bias, out);
}

}  // namespace
}  // namespace foveal

STABLE_TORCH_LIBRARY_FRAGMENT(foveal_cpp, m) {
  m.def(
      "im2win_conv2d(Tensor x, Tensor weight, Tensor bias, int sh, int sw, int ph, int pw, Tensor(a!) out) -> ()");
}

STABLE_TORCH_LIBRARY_IMPL(foveal_cpp, CPU, m) { m.impl("im2win_conv2d", TORCH_BOX(&foveal::run_im2win)); }
