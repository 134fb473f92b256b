#include "host/sampling.h"

#include <algorithm>
#include <cstring>

namespace tramontane::cuda {
namespace {

// Appends arrays to one block of memory and knows where they are.
class Packer {
 public:
  template <class T>
  int64_t append(const std::vector<T>& values) {
    bytes_.resize((bytes_.size() + 15) / 16 * 16);
    const size_t at = bytes_.size();
    bytes_.resize(at + values.size() * sizeof(T));
    if (!values.empty()) std::memcpy(bytes_.data() + at, values.data(), values.size() * sizeof(T));
    return static_cast<int64_t>(at);
  }
  const std::vector<uint8_t>& bytes() const { return bytes_; }

 private:
  std::vector<uint8_t> bytes_;
};

int32_t select_best(const std::vector<float>& logits, int32_t wanted, TokenLogit* out) {
  std::vector<TokenLogit> all;
  for (size_t i = 0; i < logits.size(); ++i) {
    all.push_back({static_cast<int32_t>(i), logits[i]});
  }
  const auto count = std::min(all.size(), static_cast<size_t>(wanted));
  std::partial_sort(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(count), all.end(),
                    [](const TokenLogit& a, const TokenLogit& b) {
                      return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
                    });
  std::copy_n(all.begin(), count, out);
  return static_cast<int32_t>(count);
}

}  // namespace

void Sampling::sample(const float* logits, const SampleRow* rows, int count, SampleResult* results,
                      const Stream& stream) {
  if (count == 0) return;
  std::vector<SampleRequest> requests;
  std::vector<int> tokens, counts;
  std::vector<float> biases;
  std::vector<uint32_t> masks;
  const auto end = [&] { return static_cast<int>(tokens.size()); };
  for (int i = 0; i < count; ++i) {
    const SampleRow& row = rows[i];
    SampleRequest request{};
    request.output = row.output;
    request.temperature = row.temperature;
    request.top_k = row.top_k;
    request.top_p = row.top_p;
    request.min_p = row.min_p;
    request.random = row.random;
    request.bias_first = end();
    request.bias_count = row.bias_count;
    tokens.insert(tokens.end(), row.bias_tokens, row.bias_tokens + row.bias_count);
    biases.insert(biases.end(), row.bias_values, row.bias_values + row.bias_count);
    request.seen_first = end();
    request.seen_count = row.seen_count;
    tokens.insert(tokens.end(), row.seen_tokens, row.seen_tokens + row.seen_count);
    counts.resize(static_cast<size_t>(request.seen_first));
    counts.insert(counts.end(), row.seen_counts, row.seen_counts + row.seen_count);
    biases.resize(tokens.size());
    request.repetition_penalty = row.repetition_penalty;
    request.presence_penalty = row.presence_penalty;
    request.frequency_penalty = row.frequency_penalty;
    request.mask_first = row.mask ? static_cast<int>(masks.size()) : -1;
    if (row.mask) masks.insert(masks.end(), row.mask, row.mask + (vocabulary_ + 31) / 32);
    request.top = row.top <= kMaxSelected ? row.top : 0;
    request.log_sum_exp = row.top >= 0;
    requests.push_back(request);
  }
  Packer packer;
  const int64_t requests_at = packer.append(requests), tokens_at = packer.append(tokens);
  const int64_t biases_at = packer.append(biases), counts_at = packer.append(counts);
  const int64_t masks_at = packer.append(masks);
  const auto bytes = static_cast<int64_t>(packer.bytes().size());
  if (bytes > requests_.size()) {
    pinned_ = PinnedArray<uint8_t>(2 * bytes);
    requests_ = DeviceArray<uint8_t>(2 * bytes);
  }
  if (count > answers_.size()) {
    answers_ = DeviceArray<SampleAnswer>(max_outputs_);
    pinned_answers_ = PinnedArray<SampleAnswer>(max_outputs_);
    modified_ = DeviceArray<float>(int64_t{max_outputs_} * vocabulary_);
  }
  std::memcpy(pinned_.data(), packer.bytes().data(), packer.bytes().size());
  stream.copy_to_device(requests_.data(), pinned_.data(), bytes);
  uint8_t* block = requests_.data();
  cuda::sample(
      {logits, modified_.data(), vocabulary_, reinterpret_cast<SampleRequest*>(block + requests_at),
       reinterpret_cast<int*>(block + tokens_at), reinterpret_cast<float*>(block + biases_at),
       reinterpret_cast<int*>(block + counts_at), reinterpret_cast<uint32_t*>(block + masks_at),
       answers_.data()},
      count, stream.get());
  stream.copy_from_device(pinned_answers_.data(), answers_.data(), count);
  stream.synchronize();
  for (int i = 0; i < count; ++i) {
    const SampleAnswer& answer = pinned_answers_.data()[i];
    SampleResult& result = results[i];
    result.finite = answer.finite;
    if (!answer.finite) continue;
    result.token = answer.token;
    result.logit = answer.logit;
    result.log_sum_exp = answer.log_sum_exp;
    result.top_count = answer.top_count;
    for (int k = 0; k < answer.top_count; ++k) {
      result.top[k] = {answer.top[k].token, answer.top[k].logit};
    }
    if (rows[i].top > kMaxSelected) select_on_host(logits, rows[i], result, stream);
  }
}

// More of the best than the device selects: rare.
void Sampling::select_on_host(const float* logits, const SampleRow& row, SampleResult& result,
                              const Stream& stream) {
  std::vector<float> raw(static_cast<size_t>(vocabulary_));
  stream.copy_from_device(raw.data(), logits + int64_t{row.output} * vocabulary_, vocabulary_);
  stream.synchronize();
  result.top_count = select_best(raw, row.top, result.top);
}

}  // namespace tramontane::cuda
