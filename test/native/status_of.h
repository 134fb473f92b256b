#pragma once

#include "backend/status_error.h"

namespace tramontane::test {

// What is thrown, or kOk.
template <typename Work>
Status status_of(Work work) {
  try {
    work();
    return Status::kOk;
  } catch (const StatusError& error) {
    return error.status();
  }
}

}  // namespace tramontane::test
