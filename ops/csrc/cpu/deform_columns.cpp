// What the taps of a deformable convolution see, and the way back, for some pixels of a batch of images. The GEMMs
// between them are PyTorch's own. Everything is contiguous.

#include "bilinear.h"

#include <algorithm>
#include <vector>

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

namespace foveal {
namespace {

using torch::stable::Tensor;
using ScalarType = torch::headeronly::ScalarType;

// Fewer channels than this in a slice cost more for the bilinear shares than they spread.
constexpr int64_t smallest_slice = 16;

// x [N, height, width, channels], offset [N, 2 * offset_groups * taps, size], columns [groups, count, taps, filters],
// where size is out_height * out_width and filters is channels / groups.
struct Sizes {
  int64_t height, width, channels, size, out_width, kernel_width, taps;
  int64_t stride[2], padding[2], dilation[2];
  int64_t groups, filters, offset_groups, each, first, count;

  // of the stretch of channels that starts at c and has one offset group and one group of the convolution
  int64_t stretch_end(int64_t c) const {
    return std::min((c / each + 1) * each, (c / filters + 1) * filters);
  }

  // where channel c of a tap stands in the columns
  int64_t column(int64_t row, int64_t tap, int64_t c) const {
    return ((c / filters * count + row) * taps + tap) * filters + c % filters;
  }

  int64_t image(int64_t row) const { return (first + row) / size; }
};

// A tap of one row of the columns: where it reads and times what.
template <typename T>
struct Tap {
  Corners<T> at;
  T scale;
};

template <typename T>
inline Tap<T> find(const Sizes& s, const T* offset, const T* mask, int64_t row, int64_t tap, int64_t group) {
  const int64_t image = s.image(row), pixel = (s.first + row) % s.size;
  const int64_t number = (image * s.offset_groups + group) * s.taps + tap;
  const int64_t y = pixel / s.out_width * s.stride[0] - s.padding[0] + tap / s.kernel_width * s.dilation[0];
  const int64_t x = pixel % s.out_width * s.stride[1] - s.padding[1] + tap % s.kernel_width * s.dilation[1];
  const T* shift = offset + 2 * number * s.size + pixel;
  return {Corners<T>(T(x) + shift[s.size], T(y) + shift[0], s.height, s.width),
          mask == nullptr ? T(1) : mask[number * s.size + pixel]};
}

template <typename T>
void forward(const Sizes& s, const T* x, const T* offset, const T* mask, T* columns) {
  torch::stable::parallel_for(0, s.count, 8, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const T* image = x + s.image(row) * s.height * s.width * s.channels;
      for (int64_t tap = 0; tap < s.taps; ++tap)
        for (int64_t c = 0, stop = 0; c < s.channels; c = stop) {
          stop = s.stretch_end(c);
          const Tap<T> here = find(s, offset, mask, row, tap, c / s.each);
          sample<T, false>(columns + s.column(row, tap, c), image + c, s.channels, here.at, here.scale, stop - c);
        }
    }
  });
}

// Channels [from, to), which lie in one offset group. partial [taps, count, 3] is for this slice of channels alone: what
// it says of the mask, of y and of x.
template <typename T>
void backward_slice(const Sizes& s, const T* d_columns, const T* x, const T* offset, const T* mask, T* d_x, T* partial,
                    int64_t from, int64_t to) {
  for (int64_t row = 0; row < s.count; ++row) {
    const int64_t image = s.image(row) * s.height * s.width * s.channels;
    for (int64_t tap = 0; tap < s.taps; ++tap) {
      const Tap<T> here = find(s, offset, mask, row, tap, from / s.each);
      T dots[4] = {0, 0, 0, 0};
      for (int64_t c = from, stop = 0; c < to; c = stop) {
        stop = std::min(s.stretch_end(c), to);
        T part[4];
        scatter(d_x + image + c, x + image + c, s.channels, here.at, here.scale, d_columns + s.column(row, tap, c),
                stop - c, part);
        for (int corner = 0; corner < 4; ++corner) dots[corner] += part[corner];
      }
      const PointGradient<T> sum(here.at, dots);
      T* to_here = partial + (tap * s.count + row) * 3;
      to_here[0] = sum.value;
      to_here[1] = here.scale * sum.y;
      to_here[2] = here.scale * sum.x;
    }
  }
}

template <typename T>
void backward(const Sizes& s, const T* d_columns, const T* x, const T* offset, const T* mask, T* d_x, T* d_offset,
              T* d_mask) {
  // shared out by channels, so that no two threads write the same number of the image's gradient
  const int64_t threads = torch::stable::get_num_threads();
  const int64_t wanted = (threads + s.offset_groups - 1) / s.offset_groups;
  const int64_t slices = std::max<int64_t>(1, std::min(wanted, s.each / smallest_slice));
  const int64_t length = s.taps * s.count * 3;
  std::vector<T> partial(s.offset_groups * slices * length);
  torch::stable::parallel_for(0, s.offset_groups * slices, 1, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) {
      const int64_t start = part / slices * s.each, slice = part % slices;
      backward_slice(s, d_columns, x, offset, mask, d_x, &partial[part * length], start + s.each * slice / slices,
                     start + s.each * (slice + 1) / slices);
    }
  });
  for (int64_t group = 0; group < s.offset_groups; ++group)
    for (int64_t tap = 0; tap < s.taps; ++tap)
      for (int64_t row = 0; row < s.count; ++row) {
        T sums[3] = {0, 0, 0};
        for (int64_t slice = 0; slice < slices; ++slice)
          for (int kind = 0; kind < 3; ++kind)
            sums[kind] += partial[(group * slices + slice) * length + (tap * s.count + row) * 3 + kind];
        const int64_t number = (s.image(row) * s.offset_groups + group) * s.taps + tap;
        const int64_t pixel = (s.first + row) % s.size;
        if (d_mask != nullptr) d_mask[number * s.size + pixel] = sums[0];
        d_offset[2 * number * s.size + pixel] = sums[1];
        d_offset[(2 * number + 1) * s.size + pixel] = sums[2];
      }
}

// numbers of the window: height and width of the kernel, the stride, the padding, the dilation
Sizes sizes_of(const Tensor& columns, const Tensor& x, const Tensor& offset, const Tensor& window, int64_t first) {
  const int64_t* w = static_cast<const int64_t*>(window.data_ptr());
  const int64_t channels = x.size(3), groups = columns.size(0), taps = w[0] * w[1];
  const int64_t offset_groups = offset.size(1) / (2 * taps);
  return {x.size(1),
          x.size(2),
          channels,
          offset.size(2) * offset.size(3),
          offset.size(3),
          w[1],
          taps,
          {w[2], w[3]},
          {w[4], w[5]},
          {w[6], w[7]},
          groups,
          channels / groups,
          offset_groups,
          channels / offset_groups,
          first,
          columns.size(1)};
}

template <typename T>
T* numbers(const Tensor& x) {
  return x.numel() == 0 ? nullptr : static_cast<T*>(x.data_ptr());
}

void run_forward(Tensor x, Tensor offset, Tensor mask, Tensor window, int64_t first, Tensor columns) {
  const Sizes s = sizes_of(columns, x, offset, window, first);
  if (x.scalar_type() == ScalarType::Double)
    forward<double>(s, numbers<double>(x), numbers<double>(offset), numbers<double>(mask), numbers<double>(columns));
  else
    forward<float>(s, numbers<float>(x), numbers<float>(offset), numbers<float>(mask), numbers<float>(columns));
}

template <typename T>
void backward_as(const Sizes& s, const Tensor& d_columns, const Tensor& x, const Tensor& offset, const Tensor& mask,
                 const Tensor& d_x, const Tensor& d_offset, const Tensor& d_mask) {
  backward<T>(s, numbers<T>(d_columns), numbers<T>(x), numbers<T>(offset), numbers<T>(mask), numbers<T>(d_x),
              numbers<T>(d_offset), numbers<T>(d_mask));
}

void run_backward(Tensor d_columns, Tensor x, Tensor offset, Tensor mask, Tensor window, int64_t first, Tensor d_x,
                  Tensor d_offset, Tensor d_mask) {
  const Sizes s = sizes_of(d_columns, x, offset, window, first);
  if (x.scalar_type() == ScalarType::Double)
    backward_as<double>(s, d_columns, x, offset, mask, d_x, d_offset, d_mask);
  else
    backward_as<float>(s, d_columns, x, offset, mask, d_x, d_offset, d_mask);
}

}  // namespace
}  // namespace foveal

STABLE_TORCH_LIBRARY_FRAGMENT(foveal_cpp, m) {
  m.def(
      "deform_columns_forward(Tensor x, Tensor offset, Tensor mask, Tensor window, int first, Tensor(a!) columns) "
      "-> ()");
  m.def(
      "deform_columns_backward(Tensor d_columns, Tensor x, Tensor offset, Tensor mask, Tensor window, int first, "
      "Tensor(a!) d_x, Tensor(b!) d_offset, Tensor(c!) d_mask) -> ()");
}

STABLE_TORCH_LIBRARY_IMPL(foveal_cpp, CPU, m) {
  m.impl("deform_columns_forward", TORCH_BOX(&foveal::run_forward));
  m.impl("deform_columns_backward", TORCH_BOX(&foveal::run_backward));
}
