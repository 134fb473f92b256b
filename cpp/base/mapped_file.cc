#include "base/mapped_file.h"

#include "base/error.h"
#include "base/wide_string.h"

#if !defined(_WIN32)
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#endif

namespace tramontane {
namespace {

[[noreturn]] void fail(const std::string& path, const std::string& reason) {
  throw Error("FILE_NOT_READABLE", "cannot map " + path + ": " + reason);
}

#if defined(_WIN32)

std::string last_error_text() { return "Windows error " + std::to_string(GetLastError()); }

struct Handle {
  HANDLE value;
  ~Handle() {
    if (value != nullptr && value != INVALID_HANDLE_VALUE) CloseHandle(value);
  }
};

#else

// Not strerror(), which threads may not share.
std::string last_error_text() { return std::generic_category().message(errno); }

uintptr_t page_bytes() { return static_cast<uintptr_t>(sysconf(_SC_PAGESIZE)); }

struct Descriptor {
  int value;
  ~Descriptor() {
    if (value >= 0) close(value);
  }
};

#endif

}  // namespace

#if defined(_WIN32)

MappedFile::MappedFile(const std::string& path) {
  const std::wstring wide = to_wide(path);
  if (wide.empty()) fail(path, "the path is empty or not UTF-8");
  const DWORD attributes = GetFileAttributesW(wide.c_str());
  if (attributes != INVALID_FILE_ATTRIBUTES && (attributes & FILE_ATTRIBUTE_DIRECTORY) != 0) {
    fail(path, "it is not a regular file");
  }
  // FILE_SHARE_DELETE: others may rename or remove the file while it is mapped, as on POSIX.
  const Handle file{CreateFileW(wide.c_str(), GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_DELETE,
                                nullptr, OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, nullptr)};
  if (file.value == INVALID_HANDLE_VALUE) fail(path, last_error_text());
  LARGE_INTEGER size;
  if (!GetFileSizeEx(file.value, &size)) fail(path, last_error_text());
  if (size.QuadPart == 0) fail(path, "the file is empty");
  const Handle mapping{CreateFileMappingW(file.value, nullptr, PAGE_READONLY, 0, 0, nullptr)};
  if (mapping.value == nullptr) fail(path, last_error_text());
  const void* data = MapViewOfFile(mapping.value, FILE_MAP_READ, 0, 0, 0);
  if (data == nullptr) fail(path, last_error_text());
  data_ = static_cast<const uint8_t*>(data);
  size_ = static_cast<uint64_t>(size.QuadPart);
  BY_HANDLE_FILE_INFORMATION information{};
  GetFileInformationByHandle(file.value, &information);
  id_ = {information.dwVolumeSerialNumber,
         uint64_t{information.nFileIndexHigh} << 32 | information.nFileIndexLow};
}

MappedFile::~MappedFile() { UnmapViewOfFile(data_); }

void MappedFile::expect(const uint8_t*, size_t) {}

// Unlocking pages that are not locked takes them out of the working set.
void MappedFile::release(const uint8_t* data, size_t bytes) {
  VirtualUnlock(const_cast<uint8_t*>(data), bytes);
}

#else

MappedFile::MappedFile(const std::string& path) {
  // Without O_NONBLOCK, opening a FIFO would wait for a writer.
  const Descriptor file{open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.value < 0) fail(path, last_error_text());
  struct stat status;
  if (fstat(file.value, &status) != 0) fail(path, last_error_text());
  if (!S_ISREG(status.st_mode)) fail(path, "it is not a regular file");
  if (status.st_size == 0) fail(path, "the file is empty");
  const size_t size = static_cast<size_t>(status.st_size);
  void* data = mmap(nullptr, size, PROT_READ, MAP_SHARED, file.value, 0);
  if (data == MAP_FAILED) fail(path, last_error_text());
#if defined(MADV_HUGEPAGE)
  // Fewer TLB misses where the kernel can do it for files; advice that cannot be taken is no error.
  madvise(data, size, MADV_HUGEPAGE);
#endif
  data_ = static_cast<const uint8_t*>(data);
  size_ = size;
  id_ = {status.st_dev, status.st_ino};
}

MappedFile::~MappedFile() { munmap(const_cast<uint8_t*>(data_), static_cast<size_t>(size_)); }

// Advice that cannot be taken is no error.
void MappedFile::expect(const uint8_t* data, size_t bytes) {
#if defined(MADV_POPULATE_READ)
  constexpr int kAdvice = MADV_POPULATE_READ;
#else
  constexpr int kAdvice = MADV_WILLNEED;
#endif
  const size_t before = reinterpret_cast<uintptr_t>(data) % page_bytes();  // In the first page.
  madvise(const_cast<uint8_t*>(data) - before, before + bytes, kAdvice);
}

void MappedFile::release(const uint8_t* data, size_t bytes) {
  const size_t page = page_bytes(), before = reinterpret_cast<uintptr_t>(data) % page;
  const size_t skipped = before == 0 ? 0 : page - before;
  if (bytes <= skipped) return;
  const size_t whole = (bytes - skipped) / page * page;
  if (whole > 0) madvise(const_cast<uint8_t*>(data) + skipped, whole, MADV_DONTNEED);
}

#endif

}  // namespace tramontane
