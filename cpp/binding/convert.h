// From JavaScript values to the core's structs. lib/model/native.ts has the same shapes as types;
// what arrives here was validated there, so a wrong type is a bug and throws a plain error.
#pragma once

#include <napi.h>

#include "engine/engine.h"
#include "model/merge.h"
#include "model/model.h"

namespace tramontane::binding {

std::vector<std::string> to_strings(const Napi::Value& value);
std::vector<MemoryGroup> to_memory_groups(const Napi::Array& array);
WeightPlace to_weight(const Napi::Object& object);
ModelDescription to_description(const Napi::Object& object);
EngineOptions to_engine_options(const Napi::Object& description);
AdapterDescription to_adapter_description(const Napi::Object& object);
MergeRequest to_merge_request(const Napi::Object& object);
GenerateRequest to_generate_request(const Napi::Object& object, int32_t vocabulary);
uint64_t to_salt(const Napi::Value& value);
std::vector<int32_t> to_tokens(const Napi::Value& value);
// Throws Error when two arrays that belong together differ in length: native indexes both by one.
void check_pair(const char* first, size_t first_size, const char* second, size_t second_size);
Napi::Value to_value(Napi::Env env, const Event& event);
// A TramontaneError's code on a plain Error; lib/model/native.ts turns it into the class.
Napi::Error to_error(Napi::Env env, const char* code, const std::string& message);

}  // namespace tramontane::binding
