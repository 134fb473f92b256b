// The forward pass.
#pragma once

#include <functional>

#include "backend/backend.h"

namespace tramontane {

// Asked between layers: true gives the step up, as if it had never begun.
using Cancelled = std::function<bool()>;

// Runs one step: writes the keys and values of all its rows into their pages and leaves the
// logits of the asked rows in Buffer::kLogits, for sample() and read_logits(). The caller ends the
// step with end_step(), whatever is returned. Throws Error when the backend fails; returns false
// when the step was cancelled.
bool forward(Backend& backend, const ModelShape& shape, const Step& step,
             const Cancelled& cancelled);

// Turns a backend's status into an Error.
void check(Backend& backend, Status status);

}  // namespace tramontane
