// A file mapped read-only into memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

namespace tramontane {

class MappedFile {
 public:
  // `path` is UTF-8. Throws Error FILE_NOT_READABLE.
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const uint8_t* data() const { return data_; }
  uint64_t size() const { return size_; }
  // Device and inode: the same file has the same, whatever the path.
  std::pair<uint64_t, uint64_t> id() const { return id_; }

  // Whether the file is not what was mapped any more: it was written to or cut short, or a page of
  // it could not be read. Then zeros were read in its place instead of the process being ended by
  // a signal, and whoever read must not use the result. Cheap enough for every step. On Windows a
  // mapped file cannot be cut short nor be opened for writing.
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
  std::pair<uint64_t, uint64_t> id_;
#if !defined(_WIN32)
  struct Guarded;

  int descriptor_ = -1;
  int64_t written_seconds_ = 0, written_nanoseconds_ = 0;
  Guarded* guarded_ = nullptr;  // Shared with the handler of faults.
#endif
};

}  // namespace tramontane
