// A small random model in a temporary file, for tests of what lies above the kernels.
#pragma once

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "base/half.h"
#include "model/model.h"

namespace tramontane::test {

// Hidden 64, FFN 96, 2 layers, 4 query and 2 KV heads of 16, vocabulary 96.
class TinyModel {
 public:
  struct Options {
    Format format = Format::kQ8_0;  // Or F32.
    int32_t window = 48;
    int32_t context = 4096;
    int32_t kv_tokens = 4096;
    int32_t threads = 2;
    KvType kv_type = KvType::kF16;
    Compute compute = Compute::kInt8;
    CreateBackend* create_backend = tramontane_create_cpu_backend;
  };

  explicit TinyModel(const Options& options) {
    static int number = 0;
    path_ = (std::filesystem::temp_directory_path() /
             ("tramontane-tiny-" + std::to_string(std::random_device{}()) + "-" +
              std::to_string(number++)))
                .string();
    description.files = {path_};
    description.shape = {2, 64, 96, 4, 2, 16, 96, 1e-5f, 1e4f, RopePairing::kNeighbours};
    description.window = options.window;
    description.kv = {options.kv_tokens, options.context, true};
    description.threads = options.threads;
    description.kv_type = options.kv_type;
    description.compute = options.compute;
    description.backend.create_cpu = options.create_backend;
    const ModelShape& s = description.shape;
    const int32_t queries = s.heads * s.head_size, keys = s.kv_heads * s.head_size;
    add(Role::kTokenEmbedding, 0, options.format, s.vocabulary, s.hidden);
    for (int32_t layer = 0; layer < s.layers; ++layer) {
      add(Role::kAttentionNorm, layer, Format::kF32, 1, s.hidden);
      add(Role::kQuery, layer, options.format, queries, s.hidden);
      add(Role::kKey, layer, options.format, keys, s.hidden);
      add(Role::kValue, layer, options.format, keys, s.hidden);
      add(Role::kAttentionOutput, layer, options.format, s.hidden, queries);
      add(Role::kFfnNorm, layer, Format::kF32, 1, s.hidden);
      add(Role::kFfnGate, layer, options.format, s.ffn, s.hidden);
      add(Role::kFfnUp, layer, options.format, s.ffn, s.hidden);
      add(Role::kFfnDown, layer, options.format, s.hidden, s.ffn);
    }
    add(Role::kOutputNorm, 0, Format::kF32, 1, s.hidden);
    add(Role::kOutput, 0, options.format, s.vocabulary, s.hidden);
    std::ofstream(path_, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes_.data()),
               static_cast<std::streamsize>(bytes_.size()));
  }
  ~TinyModel() { std::remove(path_.c_str()); }
  TinyModel(const TinyModel&) = delete;
  TinyModel& operator=(const TinyModel&) = delete;

  ModelDescription description;

 private:
  void add(Role role, int32_t layer, Format format, int32_t rows, int32_t columns) {
    WeightPlace weight{};
    weight.name = "tiny";
    weight.role = role;
    weight.layer = layer;
    weight.format = format;
    weight.rows = rows;
    weight.columns = columns;
    weight.place = {0, bytes_.size()};
    description.weights.push_back(weight);
    std::uniform_real_distribution<float> value(-0.35f, 0.35f);
    std::uniform_int_distribution<int> quant(-127, 127);
    const auto append = [this](const auto& number) {
      const auto* raw = reinterpret_cast<const uint8_t*>(&number);
      bytes_.insert(bytes_.end(), raw, raw + sizeof number);
    };
    const int64_t count = int64_t{rows} * columns;
    if (format == Format::kF32) {
      for (int64_t i = 0; i < count; ++i) append(rows == 1 ? 1.0f : value(random_));
      return;
    }
    for (int64_t block = 0; block < count / 32; ++block) {
      append(f32_to_f16(0.35f / 127));
      for (int i = 0; i < 32; ++i) append(static_cast<int8_t>(quant(random_)));
    }
  }

  std::string path_;
  std::vector<uint8_t> bytes_;
  std::mt19937 random_{1};
};

}  // namespace tramontane::test
