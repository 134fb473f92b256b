#include "model/transformer.h"

#include "base/error.h"

namespace tramontane {

namespace {

Error error_of(const Backend& backend, Status status) {
  return Error(status == Status::kOutOfMemory ? "OUT_OF_MEMORY" : "COMPUTE_FAILED",
               backend.last_error());
}

}  // namespace

void check(Backend& backend, Status status) {
  if (status != Status::kOk) throw error_of(backend, status);
}

// n: rows of the step; d: hidden; h, g: heads, KV heads; s: head size; f: ffn; v: vocabulary.
bool forward(Backend& backend, const ModelShape& shape, const Step& step,
             const Cancelled& cancelled) {
  static constexpr Projection kQkv[] = {
      {Role::kQuery, Buffer::kQuery}, {Role::kKey, Buffer::kKey}, {Role::kValue, Buffer::kValue}};
  static constexpr Projection kGateUp[] = {{Role::kFfnGate, Buffer::kGate},
                                           {Role::kFfnUp, Buffer::kUp}};
  const auto run = [&](Status status) {
    if (status == Status::kOk) return;
    const Error error = error_of(backend, status);
    backend.cancel_step();
    throw error;
  };

  run(backend.begin_step(step));
  run(backend.embed());  // residual [n][d]
  for (int32_t layer = 0; layer < shape.layers; ++layer) {
    if (cancelled()) {
      check(backend, backend.cancel_step());
      return false;
    }
    run(backend.rms_norm(Role::kAttentionNorm, layer));    // normed [n][d]
    run(backend.linear(kQkv, 3, layer, Buffer::kNormed));  // query [n][h s], key, value [n][g s]
    run(backend.rope_and_store(layer));                    // query rotated; pages filled
    run(backend.attend(layer));                            // attended [n][h s]
    run(backend.linear_add(Role::kAttentionOutput, layer, Buffer::kAttended));  // residual [n][d]
    run(backend.rms_norm(Role::kFfnNorm, layer));                               // normed [n][d]
    run(backend.linear(kGateUp, 2, layer, Buffer::kNormed));                    // gate, up [n][f]
    run(backend.swiglu());                                                      // gate [n][f]
    run(backend.linear_add(Role::kFfnDown, layer, Buffer::kGate));              // residual [n][d]
  }
  run(backend.output_logits());  // logits [outputs][v]
  return true;
}

}  // namespace tramontane
