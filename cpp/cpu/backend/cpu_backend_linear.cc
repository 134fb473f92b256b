#include "cpu/backend/cpu_backend_linear.h"

#include <algorithm>
#include <atomic>
#include <vector>

namespace tramontane::cpu {
namespace {

// Pieces of outputs for each thread, so that one that is slowed down hands work over. Each piece
// lays out the activations for itself: where they are many, fewer pieces of about so many outputs.
constexpr int64_t kPiecesPerThread = 8, kLeastPiecesPerThread = 2;
constexpr int32_t kManyRows = 64, kOutputsOfManyRows = 512;

int32_t round_up(int64_t value, int32_t multiple) {
  return static_cast<int32_t>((value + multiple - 1) / multiple * multiple);
}

// Pieces of work, each thread's in one row: what a kernel asks memory for beyond its piece is the
// piece that its thread does next. Who has none left takes the last ones of another.
class Shares {
 public:
  Shares(int32_t pieces, int threads) : shares_(static_cast<size_t>(threads)) {
    for (int64_t t = 0; t < threads; ++t) {
      shares_[static_cast<size_t>(t)].left =
          pack(static_cast<uint32_t>(pieces * t / threads),
               static_cast<uint32_t>(pieces * (t + 1) / threads));
    }
  }

  // May be called once for each piece.
  int32_t take(int thread) {
    const size_t own = static_cast<size_t>(thread);
    for (size_t i = 0; i < shares_.size(); ++i) {
      std::atomic<uint64_t>& left = shares_[(own + i) % shares_.size()].left;
      uint64_t seen = left.load(std::memory_order_relaxed);
      while (true) {
        const uint32_t first = static_cast<uint32_t>(seen >> 32),
                       last = static_cast<uint32_t>(seen);
        if (first == last) break;
        const uint64_t rest = i == 0 ? pack(first + 1, last) : pack(first, last - 1);
        if (left.compare_exchange_weak(seen, rest, std::memory_order_relaxed)) {
          return static_cast<int32_t>(i == 0 ? first : last - 1);
        }
      }
    }
    return -1;
  }

 private:
  struct alignas(64) Share {
    std::atomic<uint64_t> left{0};  // The first piece and the one behind the last.
  };

  static uint64_t pack(uint32_t first, uint32_t last) { return uint64_t{first} << 32 | last; }

  std::vector<Share> shares_;
};

}  // namespace

LinearLayers::LinearLayers(const LinearKernels& kernels, Compute compute, const Workers& workers)
    : kernels_(kernels),
      compute_(compute),
      workers_(workers),
      scratch_(static_cast<size_t>(workers.threads())) {}

// The activations that `matrix` meets: in the order of its inputs, quantized.
Activations LinearLayers::quantize(const Matrix& matrix, const float* in, int32_t rows,
                                   Quantized& quantized) {
  const int32_t columns = matrix.columns();
  const size_t values = static_cast<size_t>(rows) * static_cast<size_t>(columns);
  quantized.q.reserve(static_cast<size_t>(rows * quantized_stride(columns)));
  quantized.scales.reserve(values / 32);
  quantized.sums.reserve(values / 16);
  workers_.run(rows, static_cast<double>(values), [&](int32_t row, int thread) {
    const float* from = in + static_cast<int64_t>(row) * matrix.data.columns;
    if (matrix.order) {
      AlignedBuffer<float>& permuted = scratch_[static_cast<size_t>(thread)].permuted;
      permuted.reserve(static_cast<size_t>(columns));
      permute_gptq(*matrix.order, from, permuted.data());
      from = permuted.data();
    }
    const int64_t blocks = int64_t{row} * (columns / 32);
    kernels_.quantize(from, columns, quantized.q.data() + row * quantized_stride(columns),
                      quantized.scales.data() + blocks, quantized.sums.data() + 2 * blocks);
  });
  return {rows,
          columns,
          matrix.order ? nullptr : in,
          quantized.q.data(),
          quantized.scales.data(),
          quantized.sums.data()};
}

void LinearLayers::run(const LinearOutput* outputs, int32_t count, const float* in, int32_t rows,
                       bool add) {
  Activations activations[kMaxProjections];
  size_t scratch_bytes = 0;
  double work = 0;
  for (int32_t i = 0; i < count; ++i) {
    const Matrix& matrix = *outputs[i].matrix;
    activations[i] = {rows, matrix.data.columns, in, nullptr, nullptr, nullptr};
    if (matrix.takes_int8) {
      int32_t same = 0;  // An output before this one with the same activations.
      while (same < i &&
             !(outputs[same].matrix->takes_int8 && outputs[same].matrix->order == matrix.order)) {
        ++same;
      }
      activations[i] = same < i ? activations[same]
                                : quantize(matrix, in, rows, quantized_[static_cast<size_t>(i)]);
    }
    scratch_bytes = std::max(scratch_bytes, kernels_.scratch_bytes(matrix.columns(), rows));
    work += static_cast<double>(rows) * matrix.columns() * matrix.data.rows;
  }

  int32_t piece_size[kMaxProjections], first_piece[kMaxProjections], pieces = 0;
  for (int32_t i = 0; i < count; ++i) {
    const WeightData& weight = outputs[i].matrix->data;
    // A GPTQ word holds one output, and rows of words are read whole: there a thread has one piece.
    const int64_t threads = workers_.threads();
    int64_t split = threads * kPiecesPerThread;
    if (weight.format == Format::kGptq) {
      split = threads;
    } else if (rows >= kManyRows) {
      split = std::clamp<int64_t>(weight.rows / kOutputsOfManyRows, threads * kLeastPiecesPerThread,
                                  threads * kPiecesPerThread);
    }
    piece_size[i] = work < Workers::kSerialWork
                        ? weight.rows
                        : round_up((weight.rows + split - 1) / split, kernels_.output_granularity);
    first_piece[i] = pieces;
    pieces += (weight.rows + piece_size[i] - 1) / piece_size[i];
  }

  Shares shares(pieces, workers_.threads());
  workers_.run(pieces, work, [&](int32_t, int thread) {
    const int32_t piece = shares.take(thread);
    int32_t i = count - 1;
    while (piece < first_piece[i]) --i;
    const Matrix& matrix = *outputs[i].matrix;
    AlignedBuffer<uint8_t>& scratch = scratch_[static_cast<size_t>(thread)].kernel;
    scratch.reserve(scratch_bytes);
    LinearTask task;
    task.weight = &matrix.data;
    task.in = &activations[i];
    task.first = (piece - first_piece[i]) * piece_size[i];
    task.last = std::min(matrix.data.rows - task.first, piece_size[i]) + task.first;
    task.out = outputs[i].out;
    task.stride = matrix.data.rows;
    task.add = add;
    task.scratch = scratch.data();
    task.gptq = matrix.data.format == Format::kGptq ? &matrix.layout : nullptr;
    compute_ == Compute::kF32 ? kernels_.linear_f32(task) : kernels_.linear(task);
  });
}

}  // namespace tramontane::cpu
