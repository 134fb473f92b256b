#include "model/model.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "model/transformer.h"

namespace tramontane {
namespace {

constexpr int32_t kMaxDimension = 1 << 24;  // Products of two and a block size fit 64 bits.

[[noreturn]] void invalid(const std::string& message) { throw Error("INVALID_FILE", message); }

uint64_t tensor_bytes(const std::string& name, Format format, int32_t rows, int32_t columns) {
  const FormatInfo& info = format_info(format);
  if (columns % info.block_values != 0) {
    invalid(name + ": " + std::to_string(columns) + " columns are not a whole number of " +
            info.name + " blocks of " + std::to_string(info.block_values));
  }
  return uint64_t(rows) * uint64_t(columns / info.block_values) * uint64_t(info.block_bytes);
}

void check_group_index(const std::string& name, const uint8_t* data, int32_t columns,
                       int32_t groups) {
  for (int32_t k = 0; k < columns; ++k) {
    int32_t group;
    std::memcpy(&group, data + size_t{4} * k, sizeof group);
    if (group < 0 || group >= groups) {
      invalid(name + ".g_idx: entry " + std::to_string(k) + " is " + std::to_string(group) +
              ", but there are " + std::to_string(groups) + " groups");
    }
  }
}

int32_t pages_of(int32_t tokens) { return (tokens + kPageTokens - 1) / kPageTokens; }

void set_weight(Backend& backend, const WeightPlace& weight, const WeightData& data) {
  const Status status = backend.set_weight(weight.role, weight.layer, data);
  if (status == Status::kOk) return;
  const char* code = status == Status::kOutOfMemory    ? "OUT_OF_MEMORY"
                     : status == Status::kDeviceFailed ? "COMPUTE_FAILED"
                     : status == Status::kUnsupported  ? "UNSUPPORTED_FILE"
                                                       : "INVALID_FILE";
  throw Error(code, weight.name + ": " + backend.last_error());
}

}  // namespace

Model::Model(const ModelDescription& description)
    : paths_(description.files),
      shape_(description.shape),
      limits_{description.window, description.context, kMaxStepRows} {
  for (const std::string& path : paths_) files_.push_back(std::make_unique<MappedFile>(path));
  std::vector<FoundWeight> weights;
  for (const WeightPlace& weight : description.weights) weights.push_back(find(weight));

  BackendOptions options{};
  options.abi_version = kBackendAbiVersion;
  options.struct_size = sizeof(BackendOptions);
  options.shape = shape_;
  options.window = description.window;
  options.max_rows = kMaxStepRows;
  options.max_outputs = kMaxStepOutputs;
  options.threads = description.threads;
  options.kv_type = description.kv_type;
  options.compute = description.compute;

  if (description.cuda) {
    try {
      use_cuda(*description.cuda, options, weights);
      return;
    } catch (const Error& error) {
      if (description.cuda->required) throw;
      cuda_problem_ = error.what();
      backend_.reset();
      plugin_.reset();
    }
  }
  options.pages = pages_of(description.kv_tokens);
  use_backend(tramontane_create_cpu_backend, options, weights);
}

// An output that is the embedding's data is stored once.
std::vector<cuda::WeightShape> Model::stored_once(const std::vector<FoundWeight>& weights) {
  std::vector<cuda::WeightShape> shapes;
  std::set<const uint8_t*> known;
  for (const FoundWeight& w : weights) {
    const bool gptq = w.data.format == Format::kGptq;
    if (!known.insert(gptq ? w.parts.qweight : w.data.data).second) continue;
    shapes.push_back(
        {w.data.format, w.parts.bits, w.parts.group_size, w.data.rows, w.data.columns});
  }
  return shapes;
}

void Model::use_cuda(const CudaRequest& request, BackendOptions options,
                     const std::vector<FoundWeight>& weights) {
  plugin_ = std::make_unique<CudaPlugin>(request.plugin);
  const cuda::DeviceInfo device = plugin_->device(request.device);
  options.device = request.device;
  options.pages = pages_of(request.least_kv_tokens);
  options.pages =
      std::min(plugin_->max_pages(options, stored_once(weights), request.memory_fraction),
               pages_of(request.most_kv_tokens));
  use_backend(plugin_->create(), options, weights);
  device_ = device.name;
}

void Model::use_backend(CreateBackend* create, const BackendOptions& options,
                        const std::vector<FoundWeight>& weights) {
  Backend* backend = nullptr;
  char error[512] = "";
  const Status status = create(&options, &backend, error, sizeof error);
  backend_.reset(backend);
  if (status == Status::kInvalid) throw Error("INVALID_OPTION", error);
  if (status == Status::kOutOfMemory) throw Error("OUT_OF_MEMORY", error);
  if (status == Status::kUnsupported) throw Error("UNSUPPORTED_FILE", error);
  if (status != Status::kOk) throw Error("COMPUTE_FAILED", error);
  pages_ = options.pages;

  for (const FoundWeight& weight : weights) {
    WeightData data = weight.data;
    if (data.format == Format::kGptq) data.gptq = &weight.parts;
    set_weight(*backend_, weight.place, data);
  }
  check(*backend_, backend_->finish_loading());
}

const uint8_t* Model::range(const WeightPlace& weight, const FilePlace& place,
                            uint64_t bytes) const {
  if (place.file < 0 || static_cast<size_t>(place.file) >= files_.size()) {
    invalid(weight.name + ": no such file");
  }
  const MappedFile& file = *files_[place.file];
  if (place.offset > file.size() || bytes > file.size() - place.offset) {
    invalid(paths_[place.file] + ": " + weight.name + " needs " + std::to_string(bytes) +
            " bytes at offset " + std::to_string(place.offset) + ", but the file has " +
            std::to_string(file.size()) + ". Was it cut short?");
  }
  return file.data() + place.offset;
}

Model::FoundWeight Model::find(const WeightPlace& weight) const {
  const int32_t rows = weight.rows, columns = weight.columns;
  if (rows < 1 || columns < 1 || rows > kMaxDimension || columns > kMaxDimension) {
    invalid(weight.name + ": impossible shape " + std::to_string(rows) + " x " +
            std::to_string(columns));
  }
  WeightData data{weight.format, rows, columns, nullptr, nullptr, true};
  GptqParts parts{};
  if (weight.format == Format::kGptq) {
    const GptqPlace& gptq = weight.gptq;
    const bool bits_ok = gptq.bits == 2 || gptq.bits == 3 || gptq.bits == 4 || gptq.bits == 8;
    if (!bits_ok || gptq.group_size < 1 || columns * int64_t{gptq.bits} % 32 != 0 ||
        rows * int64_t{gptq.bits} % 32 != 0) {
      invalid(weight.name + ": impossible GPTQ layout");
    }
    const int32_t groups = (columns + gptq.group_size - 1) / gptq.group_size;
    const uint64_t word_rows = uint64_t(columns) * gptq.bits / 32;
    const uint64_t zero_words = uint64_t(rows) * gptq.bits / 32;
    parts.bits = gptq.bits;
    parts.group_size = gptq.group_size;
    parts.zero_bias = gptq.zero_bias;
    parts.scale_format = gptq.scale_format;
    parts.qweight = range(weight, gptq.qweight, 4 * word_rows * rows);
    parts.qzeros = range(weight, gptq.qzeros, 4 * zero_words * groups);
    parts.scales =
        range(weight, gptq.scales, tensor_bytes(weight.name, gptq.scale_format, groups, rows));
    if (gptq.has_group_index) {
      parts.group_index = range(weight, gptq.group_index, uint64_t{4} * columns);
      check_group_index(weight.name, parts.group_index, columns, groups);
    }
  } else {
    data.data =
        range(weight, weight.place, tensor_bytes(weight.name, weight.format, rows, columns));
  }
  return {weight, data, parts};
}

}  // namespace tramontane
