#include "model/weight_files.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "base/error.h"

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
  return matrix_bytes(info, rows, columns);
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

// Of all files; of those that cannot be had mapping or reading tells.
uint64_t file_bytes(const std::vector<std::string>& paths) {
  uint64_t total = 0;
  for (const std::string& path : paths) {
    std::error_code error;
    const auto bytes = std::filesystem::file_size(std::u8string(path.begin(), path.end()), error);
    if (!error) total += bytes;
  }
  return total;
}

// Memory beyond a container's limit is no failed allocation: it ends the process.
void check_room(uint64_t bytes, const FreeMemory& free) {
  if (bytes <= free.bytes) return;
  throw Error("OUT_OF_MEMORY", "reading the files takes " + std::to_string(bytes) +
                                   " bytes of memory, but " + free.where + " has " +
                                   std::to_string(free.bytes) +
                                   " left. mapping: 'shared' maps them: then they need not stay "
                                   "in memory");
}

}  // namespace

uint64_t gptq_word_bytes(const WeightPlace& weight, int32_t columns) {
  return uint64_t{4} * (uint64_t(columns) * weight.gptq.bits / 32) * weight.rows;
}

WeightFiles::WeightFiles(const std::vector<std::string>& paths, Mapping mapping,
                         const std::vector<MemoryGroup>& groups, const LoadProgress& progress)
    : paths_(paths), mapping_(mapping) {
  uint64_t read = 0, total = 0;
  if (mapping == Mapping::kRead) {
    total = file_bytes(paths);
    check_room(total, free_memory(groups));
  }
  const auto on_read = [&](uint64_t bytes) {
    read += bytes;
    progress(std::min(1.0, static_cast<double>(read) / static_cast<double>(total)));
  };
  for (const std::string& path : paths) {
    files_.push_back(std::make_unique<MappedFile>(path, mapping, on_read));
  }
}

void WeightFiles::check_unchanged() const {
  for (size_t i = 0; i < files_.size(); ++i) {
    if (!files_[i]->changed()) continue;
    throw Error("COMPUTE_FAILED", paths_[i] +
                                      ": the file changed or was cut short while the model used "
                                      "it. Load the model again; replace a file by renaming "
                                      "another to its name");
  }
}

uint64_t WeightFiles::bytes() const {
  uint64_t bytes = 0;
  for (const auto& file : files_) bytes += file->size();
  return bytes;
}

std::map<std::pair<uint64_t, uint64_t>, uint64_t> WeightFiles::lengths(
    const std::vector<WeightPlace>& copied) const {
  std::map<std::pair<uint64_t, uint64_t>, uint64_t> lengths;
  if (mapping_ == Mapping::kRead) return lengths;
  for (const auto& file : files_) lengths[file->id()] = file->size();
  for (const WeightPlace& weight : copied) {
    uint64_t& left = lengths[files_[weight.gptq.qweight.file]->id()];
    left -= std::min(left, gptq_word_bytes(weight, weight.columns));
  }
  return lengths;
}

const uint8_t* WeightFiles::range(const WeightPlace& weight, const FilePlace& place,
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

ModelWeight WeightFiles::find(const WeightPlace& weight) const {
  const int32_t rows = weight.rows, columns = weight.columns;
  if (rows < 1 || columns < 1 || rows > kMaxDimension || columns > kMaxDimension) {
    invalid(weight.name + ": impossible shape " + std::to_string(rows) + " x " +
            std::to_string(columns));
  }
  const bool mapped = mapping_ != Mapping::kRead;
  WeightData data{weight.format, rows, columns, nullptr, {}, mapped};
  if (weight.format == Format::kGptq) {
    const GptqPlace& gptq = weight.gptq;
    const bool bits_ok = gptq.bits == 2 || gptq.bits == 3 || gptq.bits == 4 || gptq.bits == 8;
    if (!bits_ok || gptq.group_size < 1 || columns * int64_t{gptq.bits} % 32 != 0 ||
        rows * int64_t{gptq.bits} % 32 != 0) {
      invalid(weight.name + ": impossible GPTQ layout");
    }
    const int32_t groups = (columns + gptq.group_size - 1) / gptq.group_size;
    const uint64_t zero_words = uint64_t(rows) * gptq.bits / 32;
    GptqParts& parts = data.gptq;
    parts.bits = gptq.bits;
    parts.group_size = gptq.group_size;
    parts.zero_bias = gptq.zero_bias;
    parts.scale_format = gptq.scale_format;
    data.data = range(weight, gptq.qweight, gptq_word_bytes(weight, columns));
    parts.qzeros = range(weight, gptq.qzeros, 4 * zero_words * groups);
    parts.scales =
        range(weight, gptq.scales, tensor_bytes(weight.name, gptq.scale_format, groups, rows));
    if (gptq.has_group_index) {
      parts.group_index = range(weight, gptq.group_index, uint64_t{4} * columns);
      check_group_index(weight.name, parts.group_index, columns, groups);
    }
    if (gptq.ordered_bytes > 0) {
      parts.ordered = range(weight, gptq.ordered, gptq.ordered_bytes);
      parts.ordered_bytes = gptq.ordered_bytes;
    }
  } else {
    data.data =
        range(weight, weight.place, tensor_bytes(weight.name, weight.format, rows, columns));
  }
  return {weight.name, weight.role, weight.layer, data};
}

}  // namespace tramontane
