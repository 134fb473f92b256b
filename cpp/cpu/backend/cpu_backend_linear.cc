#include "cpu/backend/cpu_backend_linear.h"

#include <algorithm>
#include <atomic>
#include <vector>

namespace tramontane::cpu {
namespace {

// Pieces of a product for each thread, so that one that is slowed down hands work over. Each piece
// lays out the activations for itself: where they are many, fewer pieces of about so many outputs.
constexpr int32_t kPiecesPerThread = 8, kLeastPiecesPerThread = 2;
constexpr int32_t kManyRows = 64, kOutputsOfManyRows = 512;

// What quantizing a value costs, in multiply-adds, and how many of a row are a piece of that work:
// a single row is enough for several threads.
constexpr double kQuantizeWork = 30;
constexpr int32_t kQuantizePiece = 1024;

int64_t divide_up(int64_t value, int64_t by) { return (value + by - 1) / by; }

// Outputs of the pieces of a thread's part of a product. A GPTQ word holds one output, and rows of
// words are read whole: there it is one piece.
int32_t piece_outputs(Format format, int32_t part, int32_t rows, int32_t granularity) {
  int32_t pieces = kPiecesPerThread;
  if (format == Format::kGptq) {
    pieces = 1;
  } else if (rows >= kManyRows) {
    pieces = std::clamp(part / kOutputsOfManyRows, kLeastPiecesPerThread, kPiecesPerThread);
  }
  return static_cast<int32_t>(divide_up(divide_up(part, pieces), granularity) * granularity);
}

// Pieces of work, each thread's in one row: what a kernel asks memory for beyond its piece is the
// piece that its thread does next. Who has none left takes the last ones of another.
class Shares {
 public:
  explicit Shares(int threads) : shares_(static_cast<size_t>(threads)) {}

  // Makes the pieces [first, last) the thread's.
  void give(int thread, size_t first, size_t last) {
    shares_[static_cast<size_t>(thread)].left =
        pack(static_cast<uint32_t>(first), static_cast<uint32_t>(last));
  }

  // May be called once for each piece.
  size_t take(int thread) {
    const size_t own = static_cast<size_t>(thread);
    for (size_t i = 0;; ++i) {
      std::atomic<uint64_t>& left = shares_[(own + i) % shares_.size()].left;
      uint64_t seen = left.load(std::memory_order_relaxed);
      while (true) {
        const uint32_t first = static_cast<uint32_t>(seen >> 32),
                       last = static_cast<uint32_t>(seen);
        if (first == last) break;
        const uint64_t rest = i == 0 ? pack(first + 1, last) : pack(first, last - 1);
        if (left.compare_exchange_weak(seen, rest, std::memory_order_relaxed)) {
          return i == 0 ? first : last - 1;
        }
      }
    }
  }

 private:
  struct alignas(64) Share {
    std::atomic<uint64_t> left{0};  // The first piece and the one behind the last.
  };

  static uint64_t pack(uint32_t first, uint32_t last) { return uint64_t{first} << 32 | last; }

  std::vector<Share> shares_;
};

}  // namespace

OutputRange part_of(int32_t outputs, int thread, int threads, int32_t granularity) {
  const int64_t units = divide_up(outputs, granularity);
  const auto begin = [&](int64_t t) {
    return static_cast<int32_t>(std::min<int64_t>(units * t / threads * granularity, outputs));
  };
  return {begin(thread), begin(thread + 1)};
}

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
  // Inputs in another order are brought into theirs a row at a time.
  const int32_t piece = matrix.order ? columns : std::min(columns, kQuantizePiece);
  const int32_t pieces = static_cast<int32_t>(divide_up(columns, piece));
  const double work = kQuantizeWork * static_cast<double>(values);
  workers_.run(rows * pieces, work, [&](int32_t chunk, int thread) {
    const int32_t row = chunk / pieces, first = chunk % pieces * piece;
    const float* from = in + static_cast<int64_t>(row) * matrix.data.columns;
    if (matrix.order) {
      AlignedBuffer<float>& permuted = scratch_[static_cast<size_t>(thread)].permuted;
      permuted.reserve(static_cast<size_t>(columns));
      permute_gptq(*matrix.order, from, permuted.data());
      from = permuted.data();
    }
    const int64_t block = (int64_t{row} * columns + first) / 32;
    kernels_.quantize(from + first, std::min(piece, columns - first),
                      quantized.q.data() + row * quantized_stride(columns) + first,
                      quantized.scales.data() + block, quantized.sums.data() + 2 * block);
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

  // Each thread begins with the same part of all products, whatever their sizes and formats.
  const int threads = work < Workers::kSerialWork ? 1 : workers_.threads();
  const int32_t granularity = kernels_.output_granularity;
  Shares shares(threads);
  pieces_.clear();
  for (int thread = 0; thread < threads; ++thread) {
    const size_t first_piece = pieces_.size();
    for (int32_t i = 0; i < count; ++i) {
      const WeightData& weight = outputs[i].matrix->data;
      const auto [first, last] = part_of(weight.rows, thread, threads, granularity);
      const int32_t size = piece_outputs(weight.format, last - first, rows, granularity);
      for (int32_t at = first; at < last; at += size) {
        pieces_.push_back({i, {at, std::min(at + size, last)}});
      }
    }
    shares.give(thread, first_piece, pieces_.size());
  }

  workers_.run(static_cast<int32_t>(pieces_.size()), work, [&](int32_t, int thread) {
    const auto& [i, part] = pieces_[shares.take(thread)];
    const Matrix& matrix = *outputs[i].matrix;
    AlignedBuffer<uint8_t>& scratch = scratch_[static_cast<size_t>(thread)].kernel;
    scratch.reserve(scratch_bytes);
    LinearTask task;
    task.weight = &matrix.data;
    task.in = &activations[i];
    task.first = part.first;
    task.last = part.last;
    task.out = outputs[i].out;
    task.stride = matrix.data.rows;
    task.add = add;
    task.scratch = scratch.data();
    task.gptq = matrix.data.format == Format::kGptq ? &matrix.layout : nullptr;
    compute_ == Compute::kF32 ? kernels_.linear_f32(task) : kernels_.linear(task);
  });
}

}  // namespace tramontane::cpu
