// A shared library loaded at run time.
#pragma once

#include <string>

namespace tramontane {

class SharedLibrary {
 public:
  // `path` is absolute, UTF-8. Throws Error BACKEND_UNAVAILABLE with the system's reason.
  explicit SharedLibrary(const std::string& path);
  // The library stays mapped: what it registered with the system or with threads may outlive its
  // last user.
  ~SharedLibrary();
  SharedLibrary(const SharedLibrary&) = delete;
  SharedLibrary& operator=(const SharedLibrary&) = delete;

  // Null when the library exports no function `name`.
  template <class Function>
  Function* function(const char* name) const {
    return reinterpret_cast<Function*>(symbol(name));
  }

 private:
  void* symbol(const char* name) const;

  void* handle_ = nullptr;
};

}  // namespace tramontane
