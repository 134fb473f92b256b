// Stacks that can be switched between: what the emulated threads of a kernel run on.
#pragma once

#include <cstddef>

namespace emulation {

class Context {
 public:
  Context() = default;  // The stack of the caller.
  Context(size_t stack_bytes, void (*entry)());
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  // Forgets what runs here; the next switch starts at the entry again.
  void restart();
  static void switch_to(Context& from, Context& to);
  // First thing an entry does: tells AddressSanitizer where we are.
  void arrived();

 private:
  void* stack_pointer_ = nullptr;
  char* stack_ = nullptr;  // Above one guard page.
  size_t stack_bytes_ = 0;
  size_t top_offset_ = 0;
  void (*entry_)() = nullptr;  // Null for the caller's stack.
  void* fake_stack_ = nullptr;
  void* tsan_fiber_ = nullptr;
  static Context* previous_;
};

}  // namespace emulation
