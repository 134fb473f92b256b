// The exception within a backend; at the seam it becomes a Status and a last_error().
#pragma once

#include <stdexcept>
#include <string>

#include "backend/backend.h"

namespace tramontane {

class StatusError : public std::runtime_error {
 public:
  StatusError(Status status, const std::string& message)
      : std::runtime_error(message), status_(status) {}
  Status status() const { return status_; }

 private:
  Status status_;
};

// For a rule of backend.h that the caller broke.
inline void require(bool condition, const char* message) {
  if (!condition) throw StatusError(Status::kInvalid, message);
}

}  // namespace tramontane
