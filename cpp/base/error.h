// The exception of the core: a code that lib/errors.ts knows, and a message for people.
// It does not cross the backend seam.
#pragma once

#include <stdexcept>
#include <string>

namespace tramontane {

class Error : public std::runtime_error {
 public:
  // `code` is one of TramontaneErrorCode in lib/errors.ts, a string literal.
  Error(const char* code, const std::string& message) : std::runtime_error(message), code_(code) {}
  const char* code() const { return code_; }

 private:
  const char* code_;
};

}  // namespace tramontane
