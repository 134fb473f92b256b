#include "emulation/context.h"

#include <sys/mman.h>
#include <ucontext.h>

#include <cstdint>
#include <cstdlib>

#include "emulation/sanitizers.h"

namespace emulation {

Context* Context::previous_ = nullptr;

namespace {

constexpr size_t kGuardBytes = 4096;

#if defined(__x86_64__)
extern "C" void emulation_switch(void** save, void* load);
// Saves the registers a callee must preserve, changes the stack, restores the other's.
asm(R"(
.text
.globl emulation_switch
.hidden emulation_switch
.type emulation_switch, @function
emulation_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size emulation_switch, .-emulation_switch
)");

void* initial_stack_pointer(char* stack, size_t bytes, void (*entry)()) {
  void** top = reinterpret_cast<void**>(stack + bytes);
  *--top = nullptr;                         // The entry's return address: it never returns.
  *--top = reinterpret_cast<void*>(entry);  // Where the switch's `ret` goes.
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  return top;
}
#else
// Other processors: slower, by the C library.
void emulation_switch(void** save, void* load) {
  ucontext_t here;
  *save = &here;
  swapcontext(&here, static_cast<ucontext_t*>(load));
}

void* initial_stack_pointer(char* stack, size_t bytes, void (*entry)()) {
  auto* context = reinterpret_cast<ucontext_t*>(stack);  // Deep end of the stack.
  getcontext(context);
  context->uc_stack.ss_sp = stack + sizeof(ucontext_t);
  context->uc_stack.ss_size = bytes - sizeof(ucontext_t);
  context->uc_link = nullptr;
  makecontext(context, entry, 0);
  return context;
}
#endif

}  // namespace

Context::Context(size_t stack_bytes, void (*entry)()) : stack_bytes_(stack_bytes), entry_(entry) {
  void* mapped = mmap(nullptr, kGuardBytes + stack_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) std::abort();
  mprotect(mapped, kGuardBytes, PROT_NONE);
  stack_ = static_cast<char*>(mapped) + kGuardBytes;
  // Stacks that end at equal distances would fight for the same sets of the cache.
  static size_t number = 0;
  top_offset_ = number++ % 64 * 5 * 64;
  restart();
}

Context::~Context() {
  if (!entry_) return;  // The caller's own stack.
  if (tsan_fiber_) __tsan_destroy_fiber(tsan_fiber_);
  munmap(stack_ - kGuardBytes, kGuardBytes + stack_bytes_);
}

void Context::restart() {
  unpoison(stack_, stack_bytes_);
  if (tsan_fiber_) __tsan_destroy_fiber(tsan_fiber_);
  if (__tsan_create_fiber) tsan_fiber_ = __tsan_create_fiber(0);
  fake_stack_ = nullptr;
  stack_pointer_ = initial_stack_pointer(stack_, stack_bytes_ - top_offset_, entry_);
}

void Context::switch_to(Context& from, Context& to) {
  if (!from.entry_ && __tsan_get_current_fiber) from.tsan_fiber_ = __tsan_get_current_fiber();
  if (__sanitizer_start_switch_fiber) {
    __sanitizer_start_switch_fiber(&from.fake_stack_, to.stack_, to.stack_bytes_);
  }
  constexpr unsigned kNoSynchronization = 1;  // A switch orders nothing between the two.
  if (__tsan_switch_to_fiber) __tsan_switch_to_fiber(to.tsan_fiber_, kNoSynchronization);
  previous_ = &from;
  emulation_switch(&from.stack_pointer_, to.stack_pointer_);
  from.arrived();
}

void Context::arrived() {
  if (!__sanitizer_finish_switch_fiber) return;
  const void* bottom = nullptr;
  size_t bytes = 0;
  __sanitizer_finish_switch_fiber(fake_stack_, &bottom, &bytes);
  if (previous_->entry_) return;
  previous_->stack_ = const_cast<char*>(static_cast<const char*>(bottom));
  previous_->stack_bytes_ = bytes;  // The way back to the caller's stack needs its bounds.
}

}  // namespace emulation
