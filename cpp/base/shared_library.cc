#include "base/shared_library.h"

#include "base/error.h"
#include "base/wide_string.h"

#if !defined(_WIN32)
#include <dlfcn.h>
#endif

namespace tramontane {

#if defined(_WIN32)

SharedLibrary::SharedLibrary(const std::string& path) {
  const std::wstring wide = to_wide(path);
  handle_ = LoadLibraryExW(wide.c_str(), nullptr,
                           LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR | LOAD_LIBRARY_SEARCH_DEFAULT_DIRS);
  if (handle_ == nullptr) {
    throw Error("BACKEND_UNAVAILABLE",
                path + " cannot be loaded: Windows error " + std::to_string(GetLastError()));
  }
  HMODULE pinned;
  GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_PIN, wide.c_str(), &pinned);
}

SharedLibrary::~SharedLibrary() { FreeLibrary(static_cast<HMODULE>(handle_)); }

void* SharedLibrary::symbol(const char* name) const {
  return reinterpret_cast<void*>(GetProcAddress(static_cast<HMODULE>(handle_), name));
}

#else

SharedLibrary::SharedLibrary(const std::string& path)
    : handle_(dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE)) {
  if (handle_ != nullptr) return;
  const char* reason = dlerror();
  throw Error("BACKEND_UNAVAILABLE",
              path + " cannot be loaded: " + (reason != nullptr ? reason : "no reason given"));
}

SharedLibrary::~SharedLibrary() { dlclose(handle_); }

void* SharedLibrary::symbol(const char* name) const { return dlsym(handle_, name); }

#endif

}  // namespace tramontane
