// UTF-16 for Windows's calls.
#pragma once

#if defined(_WIN32)
#include <windows.h>

#include <string>

namespace tramontane {

// Empty when `text` is empty or not UTF-8.
inline std::wstring to_wide(const std::string& text) {
  const int size = static_cast<int>(text.size());
  const int length =
      MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, text.data(), size, nullptr, 0);
  std::wstring wide(static_cast<size_t>(length > 0 ? length : 0), L'\0');
  if (length > 0) {
    MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, text.data(), size, wide.data(), length);
  }
  return wide;
}

}  // namespace tramontane
#endif
