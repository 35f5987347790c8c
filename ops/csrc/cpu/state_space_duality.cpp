// State-space duality: the weights softmax(dt) B of every hidden state, and what flows back through them; the products
// with x and with the gradient are PyTorch's. A row is the positions of one state of one image, read where it lies.
#include <algorithm>

#include "vec.h"

namespace foveal {
namespace {

// [N, S, L] whose positions lie side by side
template <typename T>
struct Rows {
  T* data;
  int64_t states, length, per_image, per_state;
  explicit Rows(const Tensor& x)
      : data(static_cast<T*>(x.data_ptr())),
        states(x.size(1)),
        length(x.size(2)),
        per_image(x.stride(0)),
        per_state(x.stride(1)) {}
  T* operator[](int64_t row) const { return data + row / states * per_image + row % states * per_state; }
};

// as many sums at once as the compiler puts in vectors: it must not reorder a single one
template <typename T>
inline T highest(const T* x, int64_t n) {
  T lanes[WIDE];
  std::fill_n(lanes, WIDE, x[0]);
  int64_t i = 0;
  for (; i + WIDE <= n; i += WIDE)
    for (int64_t j = 0; j < WIDE; ++j) lanes[j] = x[i + j] > lanes[j] ? x[i + j] : lanes[j];
  for (; i < n; ++i) lanes[0] = x[i] > lanes[0] ? x[i] : lanes[0];
  return *std::max_element(lanes, lanes + WIDE);
}

template <typename T>
inline T sum_of(const T* __restrict x, int64_t n) {
  T lanes[WIDE] = {};
  int64_t i = 0;
  for (; i + WIDE <= n; i += WIDE)
    for (int64_t j = 0; j < WIDE; ++j) lanes[j] += x[i + j];
  for (; i < n; ++i) lanes[0] += x[i];
  T sum = 0;
  for (T lane : lanes) sum += lane;
  return sum;
}

// p = exp(dt - max) and 1 / sum of p
template <typename T>
inline T softmax(const T* __restrict dt, int64_t n, T* __restrict p) {
  const T most = highest(dt, n);
  for (int64_t i = 0; i < n; ++i) p[i] = exp_negative(dt[i] - most);
  return T(1) / sum_of(p, n);
}

template <typename T>
void forward(const Tensor& dt_, const Tensor& b_, const Tensor& w_) {
  const Rows<T> dt(dt_), b(b_), w(w_);
  torch::stable::parallel_for(0, dt_.size(0) * dt.states, 16, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      T* __restrict out = w[row];
      const T* __restrict in = b[row];
      const T share = softmax(dt[row], dt.length, out);
      for (int64_t i = 0; i < dt.length; ++i) out[i] *= share * in[i];
    }
  });
}

// d_w becomes d_b in its place; d_dt and w are new
template <typename T>
void backward(const Tensor& dt_, const Tensor& b_, const Tensor& d_w_, const Tensor& d_dt_, const Tensor& w_) {
  const Rows<T> dt(dt_), b(b_), d_w(d_w_), d_dt(d_dt_), w(w_);
  torch::stable::parallel_for(0, dt_.size(0) * dt.states, 16, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      T *__restrict to_dt = d_dt[row], *__restrict to_b = d_w[row], *__restrict out = w[row];
      const T* __restrict in = b[row];
      const T share = softmax(dt[row], dt.length, to_dt);
      for (int64_t i = 0; i < dt.length; ++i) {
        const T p = to_dt[i] * share;
        out[i] = p * in[i];
        to_dt[i] = out[i] * to_b[i];
        to_b[i] *= p;
      }
      const T mean = sum_of(to_dt, dt.length);
      // p once more, since in may be zero
      const T* __restrict steps = dt[row];
      const T most = highest(steps, dt.length);
      for (int64_t i = 0; i < dt.length; ++i) to_dt[i] -= mean * share * exp_negative(steps[i] - most);
    }
  });
}

void run_forward(Tensor dt, Tensor b, Tensor w) {
  if (dt.scalar_type() == ScalarType::Double)
    forward<double>(dt, b, w);
  else
    forward<float>(dt, b, w);
}

void run_backward(Tensor dt, Tensor b, Tensor d_w, Tensor d_dt, Tensor w) {
  if (dt.scalar_type() == ScalarType::Double)
    backward<double>(dt, b, d_w, d_dt, w);
  else
    backward<float>(dt, b, d_w, d_dt, w);
}

}  // namespace
}  // namespace foveal

STABLE_TORCH_LIBRARY_FRAGMENT(foveal_cpp, m) {
  m.def("state_space_duality_forward(Tensor dt, Tensor b, Tensor(a!) w) -> ()");
  m.def("state_space_duality_backward(Tensor dt, Tensor b, Tensor(a!) d_w, Tensor(b!) d_dt, Tensor(c!) w) -> ()");
}

STABLE_TORCH_LIBRARY_IMPL(foveal_cpp, CPU, m) {
  m.impl("state_space_duality_forward", TORCH_BOX(&foveal::run_forward));
  m.impl("state_space_duality_backward", TORCH_BOX(&foveal::run_backward));
}
