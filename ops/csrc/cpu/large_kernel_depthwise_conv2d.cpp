// Depthwise convolution and its gradients, plane by plane; plane_conv.h has the arithmetic. A task is an image's channel,
// or eight neighbouring channels where these are adjacent in memory (channels_last), so that whole cache lines are read.
#include <cstring>

#include "plane_conv.h"
#include "vec.h"

namespace foveal {
namespace {

using plane_conv::Axis;
using plane_conv::Plan;

// [N, C, H, W] with any strides
template <class T>
struct Images {
  T* data;
  int64_t n, c, h, w;
  explicit Images(const Tensor& x)
      : data(static_cast<T*>(x.data_ptr())), n(x.stride(0)), c(x.stride(1)), h(x.stride(2)), w(x.stride(3)) {}
  T* at(int64_t image, int64_t channel) const { return data + image * n + channel * c; }
};

// What the planes of some channels need in a thread.
template <class T>
struct Workspace {
  const Plan& plan;
  std::vector<int64_t> places;
  std::vector<T> planes, kernels, results;

  Workspace(const Plan& plan, int64_t channels)
      : plan(plan), planes(channels * plan.plane_size()), kernels(channels * plan.h.taps * plan.w.taps),
        results(channels * plan.out_size()) {
    for (int64_t j = 0; j < plan.w.in; ++j) places.push_back(plan.place(j));
  }

  T* result(int64_t channel) { return &results[channel * plan.out_size()]; }

  // What lies around the image was zero from the start, and stays so.
  void fill_planes(const Images<T>& x, int64_t image, int64_t first, int64_t channels) {
    const T* from = x.at(image, first);
    const bool plain = channels == 1 && x.w == 1 && plan.w.stride == 1 && plan.w.spread == 1;
    const int64_t begin = std::max<int64_t>(0, -plan.w.pad);
    const int64_t end = std::min(plan.w.in, plan.row_length - plan.w.pad);
    for (int64_t i = 0; i < plan.h.in; ++i) {
      T* to = &planes[i * plan.row_length];
      const T* row = from + i * x.h;
      if (plain) {
        if (end > begin) std::memcpy(to + begin + plan.w.pad, row + begin, (end - begin) * sizeof(T));
        continue;
      }
      for (int64_t j = 0; j < plan.w.in; ++j)
        if (places[j] >= 0)
          for (int64_t c = 0; c < channels; ++c) to[c * plan.plane_size() + places[j]] = row[j * x.w + c * x.c];
    }
  }

  void fill_kernels(const Images<T>& kernel, int64_t image, int64_t first, int64_t channels) {
    const int64_t size = plan.h.taps * plan.w.taps;
    for (int64_t b = 0; b < plan.w.taps; ++b)
      for (int64_t a = 0; a < plan.h.taps; ++a) {
        const T* from = kernel.at(image, first) + plan.h_order[a] * kernel.h + plan.w_order[b] * kernel.w;
        for (int64_t c = 0; c < channels; ++c) kernels[c * size + b * plan.h.taps + a] = from[c * kernel.c];
      }
  }

  void convolve(int64_t channel, bool add) {
    plane_conv::convolve_plane<T>(
        plan, &planes[channel * plan.plane_size()], &kernels[channel * plan.h.taps * plan.w.taps], add,
        result(channel));
  }

  void store(const Images<T>& out, int64_t image, int64_t first, int64_t channels, const T* bias) {
    for (int64_t i = 0; i < plan.h.out; ++i) {
      T* to = out.at(image, first) + i * out.h;
      const T* from = &results[i * plan.out_length];
      if (channels == 1) {
        const T shift = bias == nullptr ? T(0) : bias[first];
        for (int64_t j = 0; j < plan.w.out; ++j) to[j * out.w] = from[j] + shift;
        continue;
      }
      for (int64_t j = 0; j < plan.w.out; ++j)
        for (int64_t c = 0; c < channels; ++c)
          to[j * out.w + c * out.c] = from[c * plan.out_size() + j] + (bias == nullptr ? T(0) : bias[first + c]);
    }
  }
};

int64_t together(const Tensor& x) { return x.size(1) > 1 && x.stride(1) == 1 ? 8 : 1; }

// out[n][c] = bias[c] + x[n][c] convolved with kernel[c]
template <class T>
void convolve(const Plan& plan, const Tensor& x, const Tensor& kernel, const T* bias, const Tensor& out) {
  const Images<T> from(x), taps(kernel), to(out);
  const int64_t width = together(x), groups = (x.size(1) + width - 1) / width;
  torch::stable::parallel_for(0, x.size(0) * groups, 1, [&](int64_t begin, int64_t end) {
    Workspace<T> work(plan, width);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t image = task / groups, first = task % groups * width, count = std::min(width, x.size(1) - first);
      work.fill_planes(from, image, first, count);
      work.fill_kernels(taps, 0, first, count);
      for (int64_t c = 0; c < count; ++c) work.convolve(c, false);
      work.store(to, image, first, count, bias);
    }
  });
}

// out[0][c] = sum over n of x[n][c] convolved with kernel[n][c]
template <class T>
void convolve_and_sum(const Plan& plan, const Tensor& x, const Tensor& kernel, const Tensor& out) {
  const Images<T> from(x), taps(kernel), to(out);
  const int64_t width = together(x), groups = (x.size(1) + width - 1) / width;
  torch::stable::parallel_for(0, groups, 1, [&](int64_t begin, int64_t end) {
    Workspace<T> work(plan, width);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t first = task * width, count = std::min(width, x.size(1) - first);
      for (int64_t image = 0; image < x.size(0); ++image) {
        work.fill_planes(from, image, first, count);
        work.fill_kernels(taps, image, first, count);
        for (int64_t c = 0; c < count; ++c) work.convolve(c, image > 0);
      }
      work.store(to, 0, first, count, nullptr);
    }
  });
}

Axis axis(const Tensor& x, const Tensor& kernel, const Tensor& out, int at, int64_t stride, int64_t dilation,
          int64_t pad, int64_t spread) {
  return {x.size(at), out.size(at), kernel.size(at), stride, dilation, pad, spread};
}

template <class T>
void run_as(const Tensor& x, const Tensor& kernel, const Tensor& bias, const Axis& h, const Axis& w, bool sum,
            const Tensor& out) {
  const Plan plan(h, w, plane_conv::LANES<T>);
  if (sum)
    convolve_and_sum<T>(plan, x, kernel, out);
  else
    convolve<T>(plan, x, kernel, bias.numel() == 0 ? nullptr : static_cast<const T*>(bias.data_ptr()), out);
}

void run(Tensor x, Tensor kernel, Tensor bias, int64_t sh, int64_t sw, int64_t dh, int64_t dw, int64_t ph, int64_t pw,
         int64_t spread_h, int64_t spread_w, bool sum, Tensor out) {
  const Axis h = axis(x, kernel, out, 2, sh, dh, ph, spread_h), w = axis(x, kernel, out, 3, sw, dw, pw, spread_w);
  if (x.scalar_type() == ScalarType::Double)
    run_as<double>(x, kernel, bias, h, w, sum, out);
  else
    run_as<float>(x, kernel, bias, h, w, sum, out);
}

}  // namespace
}  // namespace foveal

STABLE_TORCH_LIBRARY_FRAGMENT(foveal_cpp, m) {
  m.def(
      "depthwise_conv2d(Tensor x, Tensor kernel, Tensor bias, int sh, int sw, int dh, int dw, int ph, int pw, "
      "int spread_h, int spread_w, bool sum, Tensor(a!) out) -> ()");
}

STABLE_TORCH_LIBRARY_IMPL(foveal_cpp, CPU, m) { m.impl("depthwise_conv2d", TORCH_BOX(&foveal::run)); }
