#include "base/mapped_file.h"

#include <algorithm>

#include "base/error.h"
#include "base/wide_string.h"

#if !defined(_WIN32)
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <mutex>
#include <system_error>
#endif

namespace tramontane {
namespace {

// A file is read in pieces of so many bytes.
constexpr uint64_t kPiece = 16 << 20;

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

#if defined(__APPLE__)
timespec written_at(const struct stat& status) { return status.st_mtimespec; }
#else
timespec written_at(const struct stat& status) { return status.st_mtim; }
#endif

struct Descriptor {
  int value;
  ~Descriptor() {
    if (value >= 0) close(value);
  }
};

#endif

}  // namespace

#if defined(_WIN32)

MappedFile::MappedFile(const std::string& path, Mapping mapping, const OnRead& on_read) {
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
  size_ = static_cast<uint64_t>(size.QuadPart);
  if (mapping == Mapping::kRead) {
    copy_ = ReservedMemory(size_);
    copy_.commit(0, size_);
    for (uint64_t done = 0; done < size_;) {
      DWORD bytes = 0;
      const DWORD wanted = static_cast<DWORD>(std::min(kPiece, size_ - done));
      if (!ReadFile(file.value, copy_.data() + done, wanted, &bytes, nullptr)) {
        fail(path, last_error_text());
      }
      if (bytes == 0) fail(path, "it was cut short while it was read");
      done += bytes;
      on_read(bytes);
    }
    data_ = copy_.data();
  } else {
    const Handle pages{CreateFileMappingW(file.value, nullptr, PAGE_READONLY, 0, 0, nullptr)};
    if (pages.value == nullptr) fail(path, last_error_text());
    data_ = static_cast<const uint8_t*>(MapViewOfFile(pages.value, FILE_MAP_READ, 0, 0, 0));
    if (data_ == nullptr) fail(path, last_error_text());
  }
  BY_HANDLE_FILE_INFORMATION information{};
  GetFileInformationByHandle(file.value, &information);
  id_ = {information.dwVolumeSerialNumber,
         uint64_t{information.nFileIndexHigh} << 32 | information.nFileIndexLow};
}

MappedFile::~MappedFile() {
  if (copy_.size() == 0) UnmapViewOfFile(data_);
}

bool MappedFile::changed() const { return false; }

void MappedFile::expect(const uint8_t*, size_t) {}

// Unlocking pages that are not locked takes them out of the working set.
void MappedFile::release(const uint8_t* data, size_t bytes) {
  VirtualUnlock(const_cast<uint8_t*>(data), bytes);
}

#else

// A mapping whose pages may vanish. A page beyond the end of a file that was cut short, or one that
// the disk does not give, ends the process with SIGBUS. The handler puts zeros there instead, and
// sets `lost`. Entries are used again and never freed, since the handler may look at them any time.
struct MappedFile::Guarded {
  std::atomic<uintptr_t> begin{0}, end{0};
  std::atomic<bool> lost{false};
  Guarded* next = nullptr;

  static std::atomic<Guarded*> first;
  static std::mutex mutex;  // Of those who add and remove; the handler takes no locks.
  static struct sigaction previous;

  static Guarded* add(const void* data, size_t bytes);
  static void on_fault(int number, siginfo_t* info, void* context);
};

std::atomic<MappedFile::Guarded*> MappedFile::Guarded::first{nullptr};
std::mutex MappedFile::Guarded::mutex;
struct sigaction MappedFile::Guarded::previous;

// Calls only what a signal handler may: mmap() is a plain system call.
void MappedFile::Guarded::on_fault(int number, siginfo_t* info, void* context) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(info->si_addr);
  for (Guarded* guarded = first; guarded != nullptr; guarded = guarded->next) {
    const uintptr_t begin = guarded->begin, end = guarded->end;
    if (address < begin || address >= end) continue;
    const int saved = errno;
    // All the rest at once: the model is lost, and each page would be a fault of its own.
    uint8_t* page = static_cast<uint8_t*>(info->si_addr) - address % page_bytes();
    const uintptr_t rest = end - reinterpret_cast<uintptr_t>(page);
    void* zeros =
        mmap(page, rest, PROT_READ, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    errno = saved;
    if (zeros == MAP_FAILED) break;
    guarded->lost = true;
    return;
  }
  // Not ours: whoever handled it before does, or it comes again and ends the process.
  if ((previous.sa_flags & SA_SIGINFO) != 0) return previous.sa_sigaction(number, info, context);
  if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
    return previous.sa_handler(number);
  }
  sigaction(SIGBUS, &previous, nullptr);
}

MappedFile::Guarded* MappedFile::Guarded::add(const void* data, size_t bytes) {
  const std::lock_guard lock(mutex);
  Guarded* guarded = first;
  while (guarded != nullptr && guarded->begin != 0) guarded = guarded->next;
  if (guarded == nullptr) {
    if (first == nullptr) {
      struct sigaction action = {};
      action.sa_sigaction = on_fault;
      action.sa_flags = SA_SIGINFO | SA_ONSTACK;
      sigaction(SIGBUS, &action, &previous);
    }
    guarded = new Guarded;
    guarded->next = first;
    first = guarded;
  }
  guarded->lost = false;
  guarded->end =
      (reinterpret_cast<uintptr_t>(data) + bytes + page_bytes() - 1) / page_bytes() * page_bytes();
  guarded->begin = reinterpret_cast<uintptr_t>(data);
  return guarded;
}

MappedFile::MappedFile(const std::string& path, Mapping mapping, const OnRead& on_read) {
  // Without O_NONBLOCK, opening a FIFO would wait for a writer.
  Descriptor file{open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.value < 0) fail(path, last_error_text());
  struct stat status;
  if (fstat(file.value, &status) != 0) fail(path, last_error_text());
  if (!S_ISREG(status.st_mode)) fail(path, "it is not a regular file");
  if (status.st_size == 0) fail(path, "the file is empty");
  size_ = static_cast<uint64_t>(status.st_size);
  id_ = {status.st_dev, status.st_ino};
  written_seconds_ = written_at(status).tv_sec;
  written_nanoseconds_ = written_at(status).tv_nsec;
  descriptor_ = file.value;  // Closed here when something throws, and by the destructor later.
  const size_t size = static_cast<size_t>(size_);
  if (mapping == Mapping::kRead) {
    copy_ = ReservedMemory(size);
    copy_.prefer_huge_pages();
    copy_.commit(0, size);
    for (size_t done = 0; done < size;) {
      const ssize_t bytes =
          read(descriptor_, copy_.data() + done, std::min<size_t>(kPiece, size - done));
      if (bytes < 0 && errno == EINTR) continue;
      if (bytes < 0) fail(path, last_error_text());
      if (bytes == 0) break;
      done += static_cast<size_t>(bytes);
      on_read(static_cast<uint64_t>(bytes));
    }
    if (changed()) fail(path, "it changed while it was read");
    data_ = copy_.data();
    descriptor_ = -1;
    return;
  }
  void* data = MAP_FAILED;
  if (mapping == Mapping::kShared) {
    data = mmap(nullptr, size, PROT_READ, MAP_SHARED, file.value, 0);
  }
  // Some file systems know no shared mappings (FUSE with direct_io, 9p). One that is read only is
  // the same as a private one.
  if (mapping == Mapping::kPrivate || (data == MAP_FAILED && errno == ENODEV)) {
    data = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.value, 0);
  }
  if (data == MAP_FAILED) fail(path, last_error_text());
#if defined(MADV_HUGEPAGE)
  // Fewer TLB misses where the kernel can do it for files; advice that cannot be taken is no error.
  madvise(data, size, MADV_HUGEPAGE);
#endif
  data_ = static_cast<const uint8_t*>(data);
  guarded_ = Guarded::add(data, size);
  file.value = -1;
}

MappedFile::~MappedFile() {
  if (guarded_ == nullptr) return;
  {
    const std::lock_guard lock(Guarded::mutex);
    guarded_->end = 0;
    guarded_->begin = 0;
  }
  munmap(const_cast<uint8_t*>(data_), static_cast<size_t>(size_));
  close(descriptor_);
}

bool MappedFile::changed() const {
  if (descriptor_ < 0) return false;
  if (guarded_ != nullptr && guarded_->lost) return true;
  struct stat status;
  if (fstat(descriptor_, &status) != 0) return true;
  const timespec written = written_at(status);
  return static_cast<uint64_t>(status.st_size) != size_ || written.tv_sec != written_seconds_ ||
         written.tv_nsec != written_nanoseconds_;
}

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
