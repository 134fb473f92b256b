// A range of addresses that takes memory only where it is used.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tramontane {

class ReservedMemory {
 public:
  ReservedMemory() = default;
  // Reserves `bytes` of addresses, aligned to a memory page. Throws std::bad_alloc.
  explicit ReservedMemory(size_t bytes);
  ~ReservedMemory();
  ReservedMemory(ReservedMemory&& other) noexcept;
  ReservedMemory& operator=(ReservedMemory&& other) noexcept;

  uint8_t* data() const { return data_; }
  size_t size() const { return size_; }

  // Makes [offset, offset + bytes) readable and writable; it holds zeros until written. May be
  // called again for bytes that are committed already. Throws std::bad_alloc.
  void commit(size_t offset, size_t bytes);
  // Gives the memory of [offset, offset + bytes) back, whose contents are lost; the addresses stay
  // reserved. A part that fills no whole page of the system's stays as it is. commit() first, to
  // use the range again.
  void decommit(size_t offset, size_t bytes);
  // For memory that will be used whole: larger pages, where the system has them, are filled with
  // zeros faster and found faster.
  void prefer_huge_pages();

 private:
  uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace tramontane
