// Mapped files, reserved memory, aligned buffers.
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <new>
#include <random>
#include <string>
#include <utility>

#include "base/aligned_buffer.h"
#include "base/error.h"
#include "base/mapped_file.h"
#include "base/reserved_memory.h"
#include "test.h"

namespace tramontane {
namespace {

class TemporaryFile {
 public:
  // Its name begins with `name`; the rest keeps runs at the same time apart.
  TemporaryFile(const std::u8string& name, const std::string& content)
      : path_(std::filesystem::temp_directory_path() / std::filesystem::path(name)) {
    path_ += std::to_string(std::random_device()());
    std::ofstream(path_, std::ios::binary) << content;
  }
  ~TemporaryFile() { std::filesystem::remove(path_); }
  std::string path() const {
    const std::u8string utf8 = path_.u8string();
    return std::string(utf8.begin(), utf8.end());
  }

 private:
  std::filesystem::path path_;
};

// Whether mapping fails with an error that names the file and gives the reason.
bool fails(const std::string& path, const std::string& reason) {
  try {
    const MappedFile file(path);
    return false;
  } catch (const Error& error) {
    const std::string message = error.what();
    return std::string(error.code()) == "FILE_NOT_READABLE" &&
           message.find(path) != std::string::npos && message.find(reason) != std::string::npos;
  }
}

// Whether the file at `path`, read, is `content`, and reading tells of all its bytes.
bool reads(const std::string& path, const std::string& content) {
  uint64_t told = 0;
  const MappedFile file(path, Mapping::kRead, [&](uint64_t bytes) { told += bytes; });
  return told == content.size() && file.size() == content.size() &&
         std::memcmp(file.data(), content.data(), content.size()) == 0;
}

// Resident memory in bytes, or 0 where the system does not say it in this way.
size_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  size_t total = 0, resident = 0;
  statm >> total >> resident;
  return resident * 4096;
}

TEST("a mapped file holds the file's bytes, under a name outside ASCII too") {
  const TemporaryFile temporary(u8"tramontane-mistral-\u00e9\u98a8-", "the wind of the north");
  const MappedFile file(temporary.path());
  CHECK_EQ(file.size(), 21u);
  CHECK(std::memcmp(file.data(), "the wind of the north", 21) == 0);
}

TEST("a mapped file that is written to has changed, one that was read has not") {
  for (const Mapping mapping : {Mapping::kShared, Mapping::kPrivate, Mapping::kRead}) {
    const TemporaryFile temporary(u8"tramontane-changes-", "the wind of the north");
    const MappedFile file(temporary.path(), mapping);
    CHECK(!file.changed());
#if !defined(_WIN32)
    std::filesystem::resize_file(temporary.path(), 3);
    CHECK_EQ(file.changed(), mapping != Mapping::kRead);
    if (mapping == Mapping::kRead) {
      CHECK(std::memcmp(file.data(), "the wind of the north", 21) == 0);
    }
#endif
  }
}

TEST("a file is read whole, in pieces, or not at all") {
  std::string content(size_t{40} << 20, '\0');
  for (size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i * 2654435761u >> 24);
  const TemporaryFile temporary(u8"tramontane-read-", content);
  CHECK(reads(temporary.path(), content));
#if !defined(_WIN32)
  const auto cut = [&](uint64_t) { std::filesystem::resize_file(temporary.path(), 100); };
  try {
    const MappedFile file(temporary.path(), Mapping::kRead, cut);
    CHECK(false);
  } catch (const Error& error) {
    CHECK(std::string(error.code()) == "FILE_NOT_READABLE");
    CHECK(std::string(error.what()).find("changed while it was read") != std::string::npos);
  }
#endif
}

TEST("a file that cannot be mapped is an error that names it") {
  const std::string directory = std::filesystem::temp_directory_path().string();
  CHECK(fails(directory + "/tramontane-no-such-file", ""));
  CHECK(fails(directory, "not a regular file"));
  CHECK(fails("", ""));
  const TemporaryFile empty(u8"tramontane-empty-", "");
  CHECK(fails(empty.path(), "empty"));
}

TEST("pages of a mapped file that are released leave memory and come back as they were") {
  constexpr size_t kBytes = size_t{1} << 24;
  std::string content(kBytes, '\0');
  for (size_t i = 0; i < kBytes; ++i) content[i] = static_cast<char>(i * 2654435761u >> 24);
  const TemporaryFile temporary(u8"tramontane-release-", content);
  const MappedFile file(temporary.path());
  MappedFile::expect(file.data() + 5, kBytes - 5);
  CHECK(std::memcmp(file.data(), content.data(), kBytes) == 0);
  const size_t before = resident_bytes();
  // Neighbours of the range stay, whatever page they share with it.
  MappedFile::release(file.data() + 5, kBytes - 10);
  if (before != 0) CHECK(resident_bytes() + kBytes / 2 < before);
  CHECK(std::memcmp(file.data(), content.data(), kBytes) == 0);
  MappedFile::release(file.data() + 1, 1);
  MappedFile::release(file.data(), 0);
  CHECK(std::memcmp(file.data(), content.data(), kBytes) == 0);
}

TEST("reserved memory takes memory only where it is used") {
  constexpr size_t kReserved = size_t{1} << 36, kUsed = size_t{1} << 24;
  const size_t before = resident_bytes();
  ReservedMemory memory(kReserved);
  CHECK_EQ(memory.size(), kReserved);
  memory.commit(kReserved - kUsed, kUsed);
  uint8_t* used = memory.data() + kReserved - kUsed;
  CHECK_EQ(used[0], 0);
  CHECK_EQ(used[kUsed - 1], 0);
  const size_t reserved = resident_bytes();
  std::memset(used, 1, kUsed);
  memory.commit(kReserved - kUsed, kUsed);  // Again: what was written stays.
  CHECK_EQ(used[0], 1);
  if (before == 0) return;
  CHECK(reserved - before < kUsed / 4);
  CHECK(resident_bytes() - before > kUsed / 2);
  CHECK(resident_bytes() - before < 8 * kUsed);  // A sanitizer may keep several bytes for each.
}

TEST("reserved memory refuses ranges outside of it, and more than there are addresses") {
  ReservedMemory memory(1 << 20);
  for (const auto& [offset, bytes] :
       {std::pair<size_t, size_t>{0, (1 << 20) + 1}, {1 << 20, 1}, {1, static_cast<size_t>(-1)}}) {
    bool threw = false;
    try {
      memory.commit(offset, bytes);
    } catch (const std::bad_alloc&) {
      threw = true;
    }
    CHECK(threw);
  }
  bool threw = false;
  try {
    const ReservedMemory huge(static_cast<size_t>(-1) / 2);
  } catch (const std::bad_alloc&) {
    threw = true;
  }
  CHECK(threw);
}

TEST("reserved memory that is given back is gone, but for the edges; it can be used again") {
  ReservedMemory memory(size_t{64} << 20);
  const auto fill = [&](uint8_t value) {
    memory.commit(0, memory.size());
    std::memset(memory.data(), value, memory.size());
  };
  fill(1);
  const size_t before = resident_bytes();
  memory.decommit(100, memory.size() - 200);
  const size_t after = resident_bytes();
  if (before > 0) CHECK(before - after > size_t{60} << 20);
  CHECK_EQ(int{memory.data()[99]}, 1);
  memory.decommit(10, 50);  // Within a page of the system's.
  CHECK_EQ(int{memory.data()[20]}, 1);
  fill(2);
  CHECK_EQ(int{memory.data()[memory.size() / 2]}, 2);
}

TEST("reserved memory moves with its owner") {
  ReservedMemory first(1 << 16);
  first.commit(0, 1 << 16);
  first.data()[5] = 7;
  ReservedMemory second;
  second = std::move(first);
  const ReservedMemory third(std::move(second));
  CHECK_EQ(third.data()[5], 7);
  CHECK_EQ(third.size(), size_t{1} << 16);
}

TEST("an aligned buffer is aligned, only grows, and refuses a count whose bytes overflow") {
  AlignedBuffer<float> buffer;
  for (const size_t count : {1u, 3u, 1000u, 17u}) {
    buffer.reserve(count);
    CHECK_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % 64, 0u);
    CHECK(buffer.size() >= count);
    buffer.data()[count - 1] = 1;
  }
  CHECK_EQ(buffer.size(), 1000u);
  bool threw = false;
  try {
    buffer.reserve(static_cast<size_t>(-1) / 2);
  } catch (const std::bad_alloc&) {
    threw = true;
  }
  CHECK(threw);
}

}  // namespace
}  // namespace tramontane
