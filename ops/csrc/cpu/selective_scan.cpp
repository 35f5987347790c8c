// Selective scan: h[l] = exp(t[l] A) h[l-1] + t[l] u[l] B[l], y[l] = C[l] . h[l]. A task is some channels of one image
// and group; a channel runs through all positions with its states in one vector loop. B and C come as [N, G, L, S], so
// that the states of a position lie side by side, and S is a multiple of 8.
#include <algorithm>

#include "vec.h"

namespace foveal {
namespace {

struct Scan {
  int64_t n, dim, length, groups, states, parts;
  int64_t per_group() const { return dim / groups; }
  int64_t tasks() const { return n * groups * parts; }
};

// The channels of a task, [first, last) of image n, and its number of image and group
struct Task {
  int64_t image, pair, first, last;
  Task(const Scan& s, int64_t number) {
    const int64_t part = number % s.parts, group = number / s.parts % s.groups;
    pair = number / s.parts, image = pair / s.groups;
    first = group * s.per_group() + s.per_group() * part / s.parts;
    last = group * s.per_group() + s.per_group() * (part + 1) / s.parts;
  }
};

inline float exp_of(float x) { return exp_negative(x > 88.0f ? 88.0f : x); }
inline double exp_of(double x) { return std::exp(x); }

// One step of a channel's states
template <typename T>
inline void step(int64_t states, T t, T gain, const T* __restrict a, const T* __restrict b, T* __restrict h) {
  for (int64_t s = 0; s < states; ++s) h[s] = exp_of(t * a[s]) * h[s] + gain * b[s];
}

template <typename T>
void forward(const Scan& s, const T* u, const T* t, const T* a, const T* b, const T* c, T* y) {
  torch::stable::parallel_for(0, s.tasks(), 1, [&](int64_t begin, int64_t end) {
    std::vector<T> h(s.states);
    for (int64_t number = begin; number < end; ++number) {
      const Task task(s, number);
      const int64_t weights = task.pair * s.length * s.states;
      for (int64_t d = task.first; d < task.last; ++d) {
        const int64_t row = (task.image * s.dim + d) * s.length;
        std::fill(h.begin(), h.end(), T(0));
        for (int64_t l = 0; l < s.length; ++l) {
          const T* out = c + weights + l * s.states;
          step(s.states, t[row + l], t[row + l] * u[row + l], a + d * s.states, b + weights + l * s.states, h.data());
          T sum = 0;
          for (int64_t i = 0; i < s.states; ++i) sum += out[i] * h[i];
          y[row + l] = sum;
        }
      }
    }
  });
}

// d_a [N, dim, S]; d_b and d_c [tasks, L, S], which begin as zeros
template <typename T>
void backward(const Scan& s, const T* d_y, const T* u, const T* t, const T* a, const T* b, const T* c, T* d_u, T* d_t,
              T* d_a, T* d_b, T* d_c) {
  torch::stable::parallel_for(0, s.tasks(), 1, [&](int64_t begin, int64_t end) {
    std::vector<T> history((s.length + 1) * s.states), slope(s.states);  // of the states, before the first position too
    for (int64_t number = begin; number < end; ++number) {
      const Task task(s, number);
      const int64_t weights = task.pair * s.length * s.states, own = number * s.length * s.states;
      for (int64_t d = task.first; d < task.last; ++d) {
        const int64_t row = (task.image * s.dim + d) * s.length;
        const T* __restrict rates = a + d * s.states;
        T* __restrict d_rates = d_a + (task.image * s.dim + d) * s.states;
        std::fill_n(history.begin(), s.states, T(0));
        for (int64_t l = 0; l < s.length; ++l) {
          T* h = &history[(l + 1) * s.states];
          std::copy_n(h - s.states, s.states, h);
          step(s.states, t[row + l], t[row + l] * u[row + l], rates, b + weights + l * s.states, h);
        }
        std::fill(slope.begin(), slope.end(), T(0));
        std::fill_n(d_rates, s.states, T(0));
        T* __restrict g = slope.data();
        for (int64_t l = s.length - 1; l >= 0; --l) {
          const T now = t[row + l], x = u[row + l], out = d_y[row + l];
          const T *__restrict before = &history[l * s.states], *__restrict h = before + s.states;
          const T *__restrict in = b + weights + l * s.states, *__restrict read = c + weights + l * s.states;
          T *__restrict to_b = d_b + own + l * s.states, *__restrict to_c = d_c + own + l * s.states;
          T of_gain = 0, of_rate = 0;
          for (int64_t i = 0; i < s.states; ++i) {
            const T decay = exp_of(now * rates[i]), all = g[i] + out * read[i];
            to_c[i] += out * h[i];
            to_b[i] += all * now * x;
            of_gain += all * in[i];
            const T kept = all * decay * before[i];
            of_rate += kept * rates[i];
            d_rates[i] += kept * now;
            g[i] = all * decay;
          }
          d_u[row + l] = of_gain * now;
          d_t[row + l] = of_gain * x + of_rate;
        }
      }
    }
  });
}

Scan shape_of(const Tensor& u, const Tensor& b, int64_t parts) {
  return {u.size(0), u.size(1), u.size(2), b.size(1), b.size(3), parts};
}

template <typename T>
T* at(const Tensor& x) {
  return static_cast<T*>(x.data_ptr());
}

template <typename T>
void forward_as(const Scan& s, const Tensor& u, const Tensor& t, const Tensor& a, const Tensor& b, const Tensor& c,
                const Tensor& y) {
  forward<T>(s, at<T>(u), at<T>(t), at<T>(a), at<T>(b), at<T>(c), at<T>(y));
}

void run_forward(Tensor u, Tensor t, Tensor a, Tensor b, Tensor c, int64_t parts, Tensor y) {
  const Scan s = shape_of(u, b, parts);
  if (u.scalar_type() == ScalarType::Double)
    forward_as<double>(s, u, t, a, b, c, y);
  else
    forward_as<float>(s, u, t, a, b, c, y);
}

template <typename T>
void backward_as(const Scan& s, const Tensor& d_y, const Tensor& u, const Tensor& t, const Tensor& a, const Tensor& b,
                 const Tensor& c, const Tensor& d_u, const Tensor& d_t, const Tensor& d_a, const Tensor& d_b,
                 const Tensor& d_c) {
  backward<T>(s, at<T>(d_y), at<T>(u), at<T>(t), at<T>(a), at<T>(b), at<T>(c), at<T>(d_u), at<T>(d_t), at<T>(d_a),
              at<T>(d_b), at<T>(d_c));
}

void run_backward(Tensor d_y, Tensor u, Tensor t, Tensor a, Tensor b, Tensor c, int64_t parts, Tensor d_u, Tensor d_t,
                  Tensor d_a, Tensor d_b, Tensor d_c) {
  const Scan s = shape_of(u, b, parts);
  if (u.scalar_type() == ScalarType::Double)
    backward_as<double>(s, d_y, u, t, a, b, c, d_u, d_t, d_a, d_b, d_c);
  else
    backward_as<float>(s, d_y, u, t, a, b, c, d_u, d_t, d_a, d_b, d_c);
}

}  // namespace
}  // namespace foveal

STABLE_TORCH_LIBRARY_FRAGMENT(foveal_cpp, m) {
  m.def("selective_scan_forward(Tensor u, Tensor t, Tensor a, Tensor b, Tensor c, int parts, Tensor(a!) y) -> ()");
  m.def(
      "selective_scan_backward(Tensor d_y, Tensor u, Tensor t, Tensor a, Tensor b, Tensor c, int parts, "
      "Tensor(a!) d_u, Tensor(b!) d_t, Tensor(c!) d_a, Tensor(d!) d_b, Tensor(e!) d_c) -> ()");
}

STABLE_TORCH_LIBRARY_IMPL(foveal_cpp, CPU, m) {
  m.impl("selective_scan_forward", TORCH_BOX(&foveal::run_forward));
  m.impl("selective_scan_backward", TORCH_BOX(&foveal::run_backward));
}
