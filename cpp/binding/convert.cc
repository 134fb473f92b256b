#include "binding/convert.h"

#include <algorithm>

#include "backend/rules.h"
#include "base/error.h"
#include "binding/grammar.h"
#include "engine/grammar_constraint.h"

namespace tramontane::binding {
namespace {

int32_t get_int(const Napi::Object& object, const char* key) {
  return object.Get(key).As<Napi::Number>().Int32Value();
}

float get_float(const Napi::Object& object, const char* key) {
  return object.Get(key).As<Napi::Number>().FloatValue();
}

std::string get_string(const Napi::Object& object, const char* key) {
  return object.Get(key).As<Napi::String>().Utf8Value();
}

bool has(const Napi::Object& object, const char* key) { return !object.Get(key).IsUndefined(); }

Format to_format(const std::string& name) {
  Format format;
  if (!find_format(name.c_str(), &format)) {
    throw Error("UNSUPPORTED_FILE", "the native addon does not know the format " + name);
  }
  return format;
}

Role to_role(const std::string& name) {
  Role role;
  if (find_role(name, &role)) return role;
  throw Error("COMPUTE_FAILED", "the native addon does not know the weight role " + name);
}

FilePlace to_place(const Napi::Object& range) {
  return {get_int(range, "file"),
          static_cast<uint64_t>(range.Get("offset").As<Napi::Number>().Int64Value())};
}

GptqPlace to_gptq(const Napi::Object& object) {
  GptqPlace gptq{};
  const auto scales = object.Get("scales").As<Napi::Object>();
  gptq.bits = get_int(object, "bits");
  gptq.group_size = get_int(object, "groupSize");
  gptq.zero_bias = get_int(object, "zeroBias");
  gptq.scale_format = to_format(get_string(scales, "format"));
  gptq.qweight = to_place(object.Get("qweight").As<Napi::Object>());
  gptq.qzeros = to_place(object.Get("qzeros").As<Napi::Object>());
  gptq.scales = to_place(scales);
  gptq.has_group_index = has(object, "groupIndex");
  if (gptq.has_group_index)
    gptq.group_index = to_place(object.Get("groupIndex").As<Napi::Object>());
  if (has(object, "orderedColumns")) gptq.ordered_columns = get_int(object, "orderedColumns");
  if (has(object, "ordered")) {
    const auto ordered = object.Get("ordered").As<Napi::Object>();
    gptq.ordered = to_place(ordered);
    gptq.ordered_bytes =
        static_cast<uint64_t>(ordered.Get("byteLength").As<Napi::Number>().Int64Value());
  }
  return gptq;
}

RopePairing to_pairing(const Napi::Object& object) {
  return get_string(object, "ropePairing") == "halves" ? RopePairing::kHalves
                                                       : RopePairing::kNeighbours;
}

// A tensor of an adapter.
WeightPlace to_tensor(const Napi::Object& object) {
  WeightPlace tensor{};
  tensor.name = get_string(object, "name");
  tensor.format = to_format(get_string(object, "format"));
  tensor.rows = get_int(object, "rows");
  tensor.columns = get_int(object, "columns");
  tensor.place = to_place(object.Get("range").As<Napi::Object>());
  return tensor;
}

ModelShape to_shape(const Napi::Object& object) {
  ModelShape shape{};
  shape.layers = get_int(object, "layers");
  shape.hidden = get_int(object, "hiddenSize");
  shape.ffn = get_int(object, "ffnSize");
  shape.heads = get_int(object, "heads");
  shape.kv_heads = get_int(object, "kvHeads");
  shape.head_size = get_int(object, "headSize");
  shape.vocabulary = get_int(object, "vocabularySize");
  shape.rms_epsilon = get_float(object, "rmsEpsilon");
  shape.rope_base = get_float(object, "ropeBase");
  shape.rope_pairing = to_pairing(object);
  return shape;
}

Mapping to_mapping(const std::string& name) {
  return name == "read" ? Mapping::kRead : name == "private" ? Mapping::kPrivate : Mapping::kShared;
}

BackendRequest to_backend_request(const Napi::Object& object) {
  BackendRequest request;
  const std::string name = get_string(object, "name");
  request.name = name == "cpu"    ? BackendName::kCpu
                 : name == "cuda" ? BackendName::kCuda
                                  : BackendName::kAuto;
  request.falls_back = object.Get("fallsBack").As<Napi::Boolean>().Value();
  request.cpu_reason = get_string(object, "cpuReason");
  const auto plugin = object.Get("plugin").As<Napi::Object>();
  if (has(plugin, "path")) request.plugin = get_string(plugin, "path");
  if (has(plugin, "problem")) request.plugin_problem = get_string(plugin, "problem");
  request.device = get_int(object, "device");
  request.memory_fraction = object.Get("memoryFraction").As<Napi::Number>().DoubleValue();
  return request;
}

}  // namespace

std::vector<MemoryGroup> to_memory_groups(const Napi::Array& array) {
  std::vector<MemoryGroup> groups;
  for (uint32_t i = 0; i < array.Length(); ++i) {
    const auto group = array.Get(i).As<Napi::Object>();
    groups.push_back(
        {to_strings(group.Get("limits")), get_string(group, "usage"), get_string(group, "stat")});
  }
  return groups;
}

WeightPlace to_weight(const Napi::Object& object) {
  const auto storage = object.Get("storage").As<Napi::Object>();
  WeightPlace weight{};
  weight.name = get_string(object, "name");
  weight.role = to_role(get_string(object, "role"));
  weight.layer = std::max(0, get_int(object, "layer"));
  weight.format = to_format(get_string(storage, "format"));
  weight.rows = get_int(object, "rows");
  weight.columns = get_int(object, "columns");
  if (weight.format == Format::kGptq) {
    weight.gptq = to_gptq(storage.Get("gptq").As<Napi::Object>());
  } else {
    weight.place = to_place(storage.Get("range").As<Napi::Object>());
  }
  return weight;
}

std::vector<std::string> to_strings(const Napi::Value& value) {
  const auto array = value.As<Napi::Array>();
  std::vector<std::string> strings;
  for (uint32_t i = 0; i < array.Length(); ++i) {
    strings.push_back(array.Get(i).As<Napi::String>().Utf8Value());
  }
  return strings;
}

AdapterDescription to_adapter_description(const Napi::Object& object) {
  AdapterDescription description{};
  description.file = get_string(object, "path");
  description.rope_pairing = to_pairing(object);
  const auto pairs = object.Get("pairs").As<Napi::Array>();
  for (uint32_t i = 0; i < pairs.Length(); ++i) {
    const auto pair = pairs.Get(i).As<Napi::Object>();
    AdapterPairPlace place{};
    place.role = to_role(get_string(pair, "role"));
    place.layer = get_int(pair, "layer");
    place.scale = get_float(pair, "scale");
    place.down = to_tensor(pair.Get("down").As<Napi::Object>());
    place.up = to_tensor(pair.Get("up").As<Napi::Object>());
    place.has_magnitude = has(pair, "magnitude");
    if (place.has_magnitude) place.magnitude = to_tensor(pair.Get("magnitude").As<Napi::Object>());
    description.pairs.push_back(std::move(place));
  }
  return description;
}

MergeRequest to_merge_request(const Napi::Object& object) {
  return {to_strings(object.Get("files")),
          to_weight(object.Get("weight").As<Napi::Object>()),
          to_shape(object.Get("shape").As<Napi::Object>()),
          to_adapter_description(object.Get("adapter").As<Napi::Object>()),
          get_float(object, "scale"),
          to_format(get_string(object, "format")),
          get_int(object, "threads")};
}

ModelDescription to_description(const Napi::Object& object) {
  ModelDescription description{};
  description.files = to_strings(object.Get("files"));
  description.mapping = to_mapping(get_string(object, "mapping"));
  const auto weights = object.Get("weights").As<Napi::Array>();
  for (uint32_t i = 0; i < weights.Length(); ++i) {
    description.weights.push_back(to_weight(weights.Get(i).As<Napi::Object>()));
  }
  description.shape = to_shape(object.Get("shape").As<Napi::Object>());
  description.window = get_int(object, "window");
  description.kv = {get_int(object, "kvCacheTokens"), get_int(object, "contextSize"),
                    object.Get("contextAsked").As<Napi::Boolean>().Value()};
  description.memory_groups = to_memory_groups(object.Get("memoryGroups").As<Napi::Array>());
  description.threads = get_int(object, "threads");
  description.kv_type = get_string(object, "kvCacheType") == "f32" ? KvType::kF32 : KvType::kF16;
  description.compute = get_string(object, "compute") == "f32" ? Compute::kF32 : Compute::kInt8;
  description.backend = to_backend_request(object.Get("backend").As<Napi::Object>());
  return description;
}

EngineOptions to_engine_options(const Napi::Object& description) {
  return {get_int(description, "maxRunning"), get_int(description, "maxWaiting"),
          to_tokens(description.Get("undrawable"))};
}

void check_pair(const char* first, size_t first_size, const char* second, size_t second_size) {
  if (first_size == second_size) return;
  throw Error("INVALID_OPTION", std::string(first) + " and " + second +
                                    " belong together, but have " + std::to_string(first_size) +
                                    " and " + std::to_string(second_size) + " entries");
}

uint64_t to_salt(const Napi::Value& value) {
  return static_cast<uint64_t>(value.As<Napi::Number>().Int64Value());
}

std::vector<int32_t> to_tokens(const Napi::Value& value) {
  const auto array = value.As<Napi::Int32Array>();
  return {array.Data(), array.Data() + array.ElementLength()};
}

GenerateRequest to_generate_request(const Napi::Object& object, int32_t vocabulary) {
  GenerateRequest request;
  request.prompt = to_tokens(object.Get("prompt"));
  request.max_tokens = get_int(object, "maxTokens");
  request.stop_tokens = to_tokens(object.Get("stopTokens"));
  request.logprobs = get_int(object, "logprobs");
  request.priority = get_int(object, "priority");
  request.cache_salt = to_salt(object.Get("cacheSalt"));
  if (has(object, "allowedTokens")) {
    request.constraint =
        std::make_unique<AllowList>(to_tokens(object.Get("allowedTokens")), vocabulary);
  }
  if (has(object, "grammar")) {
    const auto grammar = object.Get("grammar").As<Napi::Object>();
    request.constraint = std::make_unique<GrammarConstraint>(
        NativeGrammar::Unwrap(grammar.Get("grammar").As<Napi::Object>())->shared(),
        to_vocabulary(grammar.Get("vocabulary")), request.stop_tokens,
        grammar.Get("dummySpace").As<Napi::Boolean>().Value(), vocabulary);
  }
  SamplingOptions& sampling = request.sampling;
  sampling.temperature = get_float(object, "temperature");
  sampling.top_k = get_int(object, "topK");
  sampling.top_p = get_float(object, "topP");
  sampling.min_p = get_float(object, "minP");
  sampling.seed = static_cast<uint64_t>(object.Get("seed").As<Napi::Number>().Int64Value());
  sampling.repetition_penalty = get_float(object, "repetitionPenalty");
  sampling.presence_penalty = get_float(object, "presencePenalty");
  sampling.frequency_penalty = get_float(object, "frequencyPenalty");
  sampling.bias_tokens = to_tokens(object.Get("biasTokens"));
  const auto values = object.Get("biasValues").As<Napi::Float32Array>();
  sampling.bias_values.assign(values.Data(), values.Data() + values.ElementLength());
  check_pair("biasTokens", sampling.bias_tokens.size(), "biasValues", sampling.bias_values.size());
  return request;
}

Napi::Value to_value(Napi::Env env, const Event& event) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("id", static_cast<double>(event.id));
  if (event.token >= 0) {
    object.Set("token", event.token);
    object.Set("logprob", event.logprob);
    Napi::Array top = Napi::Array::New(env, event.top.size());
    for (uint32_t i = 0; i < event.top.size(); ++i) {
      Napi::Object entry = Napi::Object::New(env);
      entry.Set("token", event.top[i].token);
      entry.Set("logprob", event.top[i].logit);
      top.Set(i, entry);
    }
    object.Set("top", top);
  }
  if (event.finish == Finish::kNone) return object;
  // In the order of enum Finish.
  static constexpr const char* kNames[] = {"", "stop", "length", "aborted", "scored", "failed"};
  object.Set("finish", kNames[static_cast<int>(event.finish)]);
  object.Set("cachedTokens", event.cached_tokens);
  object.Set("negativeLogLikelihood", event.negative_log_likelihood);
  Napi::Object timings = Napi::Object::New(env);
  timings.Set("queuedMs", event.timings.queued_ms);
  timings.Set("promptMs", event.timings.prompt_ms);
  timings.Set("generateMs", event.timings.generate_ms);
  object.Set("timings", timings);
  if (event.error_code != nullptr) {
    object.Set("error", to_error(env, event.error_code, event.error_message).Value());
  }
  return object;
}

Napi::Error to_error(Napi::Env env, const char* code, const std::string& message) {
  Napi::Error error = Napi::Error::New(env, message);
  error.Set("code", Napi::String::New(env, code));
  return error;
}

}  // namespace tramontane::binding
