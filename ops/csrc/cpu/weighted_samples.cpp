// Weighted sums of bilinear samples on the CPU, see ops/weighted_samples/reference.py; everything is contiguous.

#include "bilinear.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

namespace foveal {
namespace {

using torch::stable::Tensor;
using ScalarType = torch::headeronly::ScalarType;

struct SampleSizes {
  int64_t batch, pixels, groups, channels, queries, levels, points;
  const int64_t *shapes, *starts;
};

template <typename T>
void forward(const SampleSizes& s, const T* value, const T* places, const T* weights, T* out) {
  const int64_t stride = s.groups * s.channels, each = s.levels * s.points;
  torch::stable::parallel_for(0, s.batch * s.queries, 16, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const T* image = value + row / s.queries * s.pixels * stride;
      for (int64_t group = 0; group < s.groups; ++group) {
        const int64_t first = (row * s.groups + group) * each;
        T* sum = out + (row * s.groups + group) * s.channels;
        for (int64_t c = 0; c < s.channels; ++c) sum[c] = 0;
        for (int64_t point = 0; point < each; ++point) {
          const int64_t level = point / s.points;
          const T* place = places + 2 * (first + point);
          const Corners<T> at(place[0], place[1], s.shapes[2 * level], s.shapes[2 * level + 1]);
          if (!at.any()) continue;
          const T* pixels = image + s.starts[level] * stride + group * s.channels;
          sample<T, true>(sum, pixels, stride, at, weights[first + point], s.channels);
        }
      }
    }
  });
}

template <typename T>
void backward(const SampleSizes& s, const T* grad, const T* value, const T* places, const T* weights, T* d_value,
              T* d_places, T* d_weights) {
  const int64_t stride = s.groups * s.channels, each = s.levels * s.points;
  // shared out by groups of channels, so that no two threads write the same pixel's gradient
  torch::stable::parallel_for(0, s.batch * s.groups, 1, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) {
      const int64_t image = part / s.groups, group = part % s.groups;
      for (int64_t query = 0; query < s.queries; ++query) {
        const int64_t row = (image * s.queries + query) * s.groups + group;
        for (int64_t point = 0; point < each; ++point) {
          const int64_t level = point / s.points, number = row * each + point;
          const T* place = places + 2 * number;
          const Corners<T> at(place[0], place[1], s.shapes[2 * level], s.shapes[2 * level + 1]);
          const int64_t first = (image * s.pixels + s.starts[level]) * stride + group * s.channels;
          T dots[4];
          scatter(d_value + first, value + first, stride, at, weights[number], grad + row * s.channels, s.channels,
                  dots);
          const PointGradient<T> sum(at, dots);
          d_weights[number] = sum.value;
          d_places[2 * number] = weights[number] * sum.x;
          d_places[2 * number + 1] = weights[number] * sum.y;
        }
      }
    }
  });
}

SampleSizes sizes_of(const Tensor& value, const Tensor& shapes, const Tensor& starts, const Tensor& places) {
  const SampleSizes s{value.size(0),
                      value.size(1),
                      value.size(2),
                      value.size(3),
                      places.size(1),
                      places.size(3),
                      places.size(4),
                      static_cast<const int64_t*>(shapes.data_ptr()),
                      static_cast<const int64_t*>(starts.data_ptr())};
  for (int64_t level = 0; level < s.levels; ++level) {
    const int64_t end = s.starts[level] + s.shapes[2 * level] * s.shapes[2 * level + 1];
    STD_TORCH_CHECK(s.starts[level] >= 0 && end <= s.pixels, "level ", level, " ends at pixel ", end, " of ", s.pixels);
  }
  return s;
}

template <typename T>
T* numbers(const Tensor& x) {
  return static_cast<T*>(x.data_ptr());
}

template <typename T>
void forward_as(const SampleSizes& s, const Tensor& value, const Tensor& places, const Tensor& weights,
                const Tensor& out) {
  forward<T>(s, numbers<T>(value), numbers<T>(places), numbers<T>(weights), numbers<T>(out));
}

void run_forward(Tensor value, Tensor shapes, Tensor starts, Tensor places, Tensor weights, Tensor out) {
  const SampleSizes s = sizes_of(value, shapes, starts, places);
  if (value.scalar_type() == ScalarType::Double)
    forward_as<double>(s, value, places, weights, out);
  else
    forward_as<float>(s, value, places, weights, out);
}

template <typename T>
void backward_as(const SampleSizes& s, const Tensor& grad, const Tensor& value, const Tensor& places,
                 const Tensor& weights, const Tensor& d_value, const Tensor& d_places, const Tensor& d_weights) {
  backward<T>(s, numbers<T>(grad), numbers<T>(value), numbers<T>(places), numbers<T>(weights), numbers<T>(d_value),
              numbers<T>(d_places), numbers<T>(d_weights));
}

void run_backward(Tensor grad, Tensor value, Tensor shapes, Tensor starts, Tensor places, Tensor weights,
                  Tensor d_value, Tensor d_places, Tensor d_weights) {
  const SampleSizes s = sizes_of(value, shapes, starts, places);
  if (value.scalar_type() == ScalarType::Double)
    backward_as<double>(s, grad, value, places, weights, d_value, d_places, d_weights);
  else
    backward_as<float>(s, grad, value, places, weights, d_value, d_places, d_weights);
}

}  // namespace
}  // namespace foveal

STABLE_TORCH_LIBRARY_FRAGMENT(foveal_cpp, m) {
  m.def(
      "weighted_samples_forward(Tensor value, Tensor shapes, Tensor starts, Tensor places, Tensor weights, "
      "Tensor(a!) out) -> ()");
  m.def(
      "weighted_samples_backward(Tensor grad, Tensor value, Tensor shapes, Tensor starts, Tensor places, "
      "Tensor weights, Tensor(a!) d_value, Tensor(b!) d_places, Tensor(c!) d_weights) -> ()");
}

STABLE_TORCH_LIBRARY_IMPL(foveal_cpp, CPU, m) {
  m.impl("weighted_samples_forward", TORCH_BOX(&foveal::run_forward));
  m.impl("weighted_samples_backward", TORCH_BOX(&foveal::run_backward));
}
