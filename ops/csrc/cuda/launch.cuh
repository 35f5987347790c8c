// What the CUDA kernels share: torch's stable ABI, strides, the types that sums are kept in, and the launch's edge.
#pragma once

#include <cstdint>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/util/Exception.h>

namespace foveal {

using torch::stable::Tensor;
using ScalarType = torch::headeronly::ScalarType;

// Sums of T are kept in this type.
template <class T>
struct Exact {
  using type = float;
};
template <>
struct Exact<double> {
  using type = double;
};

// Of a tensor with four axes, in numbers
struct Strides {
  int64_t axis[4];
  explicit Strides(const Tensor& x) : axis{x.stride(0), x.stride(1), x.stride(2), x.stride(3)} {}
};

inline cudaStream_t current_stream(const Tensor& x) {
  void* stream = nullptr;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(x.get_device_index(), &stream));
  return static_cast<cudaStream_t>(stream);
}

inline void check_launch(const char* kernel) {
  const cudaError_t error = cudaGetLastError();
  STD_TORCH_CHECK(error == cudaSuccess, kernel, " could not be launched: ", cudaGetErrorString(error));
}

}  // namespace foveal
