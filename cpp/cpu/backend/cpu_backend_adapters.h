// Adapters on the CPU: what low-rank pairs add to the linear layers of a step's rows.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "backend/rules.h"
#include "base/aligned_buffer.h"
#include "cpu/backend/cpu_backend_weights.h"
#include "cpu/backend/workers.h"
#include "cpu/linear/linear.h"

namespace tramontane::cpu {

// An output of a linear layer, [rows][outputs], to which its adapters are applied.
struct AdaptedOutput {
  Role role;
  float* out;
};

class Adapters {
 public:
  Adapters(const LinearKernels& kernels, const ModelShape& shape, const Workers& workers);

  // What load_adapter() and unload_adapter() do, on any thread. Throws StatusError, std::bad_alloc.
  void load(int32_t adapter, const AdapterPair* pairs, int32_t count, const Weights& weights);
  void unload(int32_t adapter);

  // Throws StatusError for an adapter that is not loaded.
  void begin_step(const Step& step);
  void end_step() { groups_.clear(); }

  // Before a linear layer that adds to `out`: sets aside what is there of rows whose output is
  // scaled as a whole, and leaves zeros.
  void set_aside(const AdaptedOutput& output, int32_t layer);
  // After the linear layer of weights that share `in`.
  void apply(const AdaptedOutput* outputs, int32_t count, int32_t layer, const float* in);

 private:
  struct Pair {
    AdapterPair data;
    // [outputs] of a pair with magnitudes: a row of weight + s * up * down has the squared length
    // weight + 2 s mixed + s^2 pair.
    struct Squares {
      double weight, mixed, pair;
    };
    std::vector<Squares> squares;
  };
  using Adapter = std::map<std::pair<Role, int32_t>, Pair>;

  // Consecutive rows of a step with the same adapter.
  struct Group {
    std::shared_ptr<const Adapter> adapter;
    int32_t first_row, rows;
  };
  // Some rows, and some outputs (of the first product the ranks), of one pair.
  struct Piece {
    const Pair* pair;
    size_t reduced;  // Where its rows [rows][rank] begin.
    float* out;      // [rows of the step][outputs]
    int32_t first_row, rows, first, last;
  };
  // What a thread needs for itself.
  struct Scratch {
    AlignedBuffer<uint8_t> kernel;
    std::vector<float> factors;
  };

  static const Pair* find(const Group& group, Role role, int32_t layer);
  void measure(Pair& pair, const WeightData& weight) const;
  static void split(Piece piece, int32_t outputs, int32_t most, std::vector<Piece>* pieces);
  template <typename Function>
  void run(const std::vector<Piece>& pieces, Function&& function);
  void reduce(const Piece& piece, const float* in, Scratch& scratch);
  void expand(const Piece& piece, Scratch& scratch);
  void scale_outputs(const Piece& piece, std::vector<float>& factors);

  const LinearKernels& kernels_;
  const ModelShape& shape_;
  const Workers& workers_;
  std::mutex mutex_;
  std::map<int32_t, std::shared_ptr<const Adapter>> loaded_;

  // Of the step at hand.
  std::vector<Group> groups_;
  std::vector<float> scales_;  // [rows]
  bool is_set_aside_ = false;
  AlignedBuffer<float> set_aside_;  // [rows][outputs]
  AlignedBuffer<float> reduced_;
  std::vector<Piece> reducing_, expanding_;
  std::vector<Scratch> scratch_;  // One a thread.
};

}  // namespace tramontane::cpu
