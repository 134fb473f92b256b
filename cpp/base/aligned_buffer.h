// An array of plain values, aligned to a cache line, whose contents are not kept when it grows.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <type_traits>

namespace tramontane {

template <typename T>
class AlignedBuffer {
  static_assert(std::is_trivial_v<T>);

 public:
  static constexpr size_t kAlignment = 64;

  // Makes room for `count` values, which hold anything. Throws std::bad_alloc.
  void reserve(size_t count) {
    if (count <= size_) return;
    if (count > static_cast<size_t>(-1) / sizeof(T)) throw std::bad_alloc();
    data_.reset();  // First, so that both are never held at once.
    size_ = 0;
    data_.reset(static_cast<T*>(::operator new (count * sizeof(T), std::align_val_t{kAlignment})));
    size_ = count;
  }

  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  size_t size() const { return size_; }

 private:
  struct Free {
    void operator()(T* data) const { ::operator delete (data, std::align_val_t{kAlignment}); }
  };
  std::unique_ptr<T, Free> data_;
  size_t size_ = 0;
};

}  // namespace tramontane
