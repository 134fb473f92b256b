#include "base/reserved_memory.h"

#include <new>
#include <utility>

#if defined(_WIN32)
#include <windows.h>
#else
#include <sys/mman.h>
#endif

namespace tramontane {

#if defined(_WIN32)

ReservedMemory::ReservedMemory(size_t bytes) : size_(bytes) {
  if (bytes == 0) return;
  data_ = static_cast<uint8_t*>(VirtualAlloc(nullptr, bytes, MEM_RESERVE, PAGE_NOACCESS));
  if (data_ == nullptr) throw std::bad_alloc();
}

ReservedMemory::~ReservedMemory() {
  if (data_ != nullptr) VirtualFree(data_, 0, MEM_RELEASE);
}

void ReservedMemory::commit(size_t offset, size_t bytes) {
  if (offset > size_ || bytes > size_ - offset) throw std::bad_alloc();
  if (bytes == 0) return;
  if (VirtualAlloc(data_ + offset, bytes, MEM_COMMIT, PAGE_READWRITE) == nullptr) {
    throw std::bad_alloc();
  }
}

void ReservedMemory::prefer_huge_pages() {}

#else

ReservedMemory::ReservedMemory(size_t bytes) : size_(bytes) {
  if (bytes == 0) return;
  int flags = MAP_PRIVATE | MAP_ANONYMOUS;
#if defined(MAP_NORESERVE)
  flags |= MAP_NORESERVE;
#endif
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (data == MAP_FAILED) throw std::bad_alloc();
  data_ = static_cast<uint8_t*>(data);
}

ReservedMemory::~ReservedMemory() {
  if (data_ != nullptr) munmap(data_, size_);
}

// The kernel gives memory at the first touch.
void ReservedMemory::commit(size_t offset, size_t bytes) {
  if (offset > size_ || bytes > size_ - offset) throw std::bad_alloc();
}

void ReservedMemory::prefer_huge_pages() {
#if defined(MADV_HUGEPAGE)
  if (size_ > 0) madvise(data_, size_, MADV_HUGEPAGE);
#endif
}

#endif

ReservedMemory::ReservedMemory(ReservedMemory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

ReservedMemory& ReservedMemory::operator=(ReservedMemory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

}  // namespace tramontane
