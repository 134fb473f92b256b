#include "base/reserved_memory.h"

#include <algorithm>
#include <new>
#include <utility>

#if defined(_WIN32)
#include <windows.h>
#else
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace tramontane {
namespace {

struct Range {
  size_t first, bytes;
};

// The whole pages of `page` bytes in [offset, offset + bytes) of memory that begins with a page.
Range whole_pages(size_t offset, size_t bytes, size_t page) {
  const size_t first = (offset + page - 1) / page * page;
  const size_t end = (offset + bytes) / page * page;
  return {first, end > first ? end - first : 0};
}

}  // namespace

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

void ReservedMemory::decommit(size_t offset, size_t bytes) {
  SYSTEM_INFO info;
  GetSystemInfo(&info);
  const Range range = whole_pages(offset, std::min(bytes, size_ - offset), info.dwPageSize);
  if (range.bytes > 0) VirtualFree(data_ + range.first, range.bytes, MEM_DECOMMIT);
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

void ReservedMemory::decommit(size_t offset, size_t bytes) {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const Range range = whole_pages(offset, std::min(bytes, size_ - offset), page);
  if (range.bytes == 0) return;
#if defined(__linux__)
  madvise(data_ + range.first, range.bytes, MADV_DONTNEED);
#else
  // There MADV_DONTNEED is a hint for later, and the memory still counts as this process's.
  mmap(data_ + range.first, range.bytes, PROT_READ | PROT_WRITE,
       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
#endif
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
