// Plays the blocks of a CUDA grid one after the other on the CPU, and a block's threads in turn from one barrier to the
// next, so that the arithmetic of ops/csrc/cuda can be tested where no GPU is. Stops the process where threads of a block
// part at a barrier or write beyond the shared memory that they asked for, which is NaN until they have written it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>

#include <cuda_runtime.h>
#include <ucontext.h>

using std::min;

inline dim3 threadIdx, blockIdx;

namespace played {

constexpr size_t BEYOND = 64, STACK = 65536;
constexpr double MARK = 12345.678;

struct Thread {
  ucontext_t state;
  std::vector<char> stack = std::vector<char>(STACK);
  bool done;
};

inline ucontext_t scheduler;
inline Thread* now;
inline std::function<void()> kernel;
inline std::vector<double> shared;

inline void run_thread() {
  kernel();
  now->done = true;
  swapcontext(&now->state, &scheduler);
}

inline void stop(const char* why) {
  std::fprintf(stderr, "%s\n", why);
  std::abort();
}

inline void run_block(std::vector<Thread>& threads, size_t words) {
  shared.assign(words + BEYOND, std::nan(""));
  std::fill(shared.begin() + words, shared.end(), MARK);
  for (Thread& thread : threads) {
    thread.done = false;
    getcontext(&thread.state);
    thread.state.uc_stack.ss_sp = thread.stack.data();
    thread.state.uc_stack.ss_size = STACK;
    thread.state.uc_link = nullptr;
    makecontext(&thread.state, run_thread, 0);
  }
  for (size_t done = 0; done == 0;) {
    for (size_t i = 0; i < threads.size(); ++i) {
      now = &threads[i];
      threadIdx = dim3(i);
      swapcontext(&scheduler, &now->state);
      done += now->done;
    }
    if (done != 0 && done != threads.size()) stop("threads of a block part at a barrier");
  }
  if (std::any_of(shared.begin() + words, shared.end(), [](double x) { return x != MARK; }))
    stop("a block writes beyond its shared memory");
}

inline void launch(dim3 grid, unsigned threads_of_block, size_t bytes, std::function<void()> body) {
  if (bytes > 48 * 1024) stop("a block asks for more shared memory than there is without asking the driver");
  kernel = std::move(body);
  std::vector<Thread> threads(threads_of_block);
  for (unsigned z = 0; z < grid.z; ++z)
    for (unsigned y = 0; y < grid.y; ++y)
      for (unsigned x = 0; x < grid.x; ++x) {
        blockIdx = dim3(x, y, z);
        run_block(threads, (bytes + sizeof(double) - 1) / sizeof(double));
      }
}

}  // namespace played

inline void __syncthreads() { swapcontext(&played::now->state, &played::scheduler); }
