// A file's bytes in memory, read-only: mapped, or read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "base/reserved_memory.h"

namespace tramontane {

// How a file comes into memory. kShared becomes kPrivate where the file system knows no shared
// mappings. kRead is a copy, for which neither the file nor its file system is needed later.
enum class Mapping { kShared, kPrivate, kRead };

class MappedFile {
 public:
  // Takes how many more bytes were read; what it throws, the constructor does.
  using OnRead = std::function<void(uint64_t bytes)>;

  // `path` is UTF-8. `on_read` is called for kRead only. Throws Error FILE_NOT_READABLE, and
  // std::bad_alloc.
  explicit MappedFile(
      const std::string& path, Mapping mapping = Mapping::kShared,
      const OnRead& on_read = [](uint64_t) {});
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const uint8_t* data() const { return data_; }
  uint64_t size() const { return size_; }
  // Device and inode: the same file has the same, whatever the path.
  std::pair<uint64_t, uint64_t> id() const { return id_; }

  // Whether the file is not what was mapped any more: it was written to or cut short, or a page of
  // it could not be read. Then zeros were read in its place instead of the process being ended by
  // a signal, and whoever read must not use the result. Cheap enough for every step. A copy does
  // not change. On Windows a mapped file cannot be cut short nor be opened for writing.
  bool changed() const;

  // For a range of a mapped file about to be read whole: brings its pages in, many at a time. A
  // first touch brings in few.
  static void expect(const uint8_t* data, size_t bytes);
  // For a range of a mapped file that is not needed any more: its whole pages no longer count as
  // this process's memory. They are there again when they are touched.
  static void release(const uint8_t* data, size_t bytes);

 private:
  const uint8_t* data_ = nullptr;
  uint64_t size_ = 0;
  ReservedMemory copy_;  // Of a file that was read.
  std::pair<uint64_t, uint64_t> id_;
#if !defined(_WIN32)
  struct Guarded;

  int descriptor_ = -1;
  int64_t written_seconds_ = 0, written_nanoseconds_ = 0;
  Guarded* guarded_ = nullptr;  // Shared with the handler of faults; null for a copy.
#endif
};

}  // namespace tramontane
