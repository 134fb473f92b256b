// No exception of C++ leaves a callback into Node: each becomes an error with a code.
#pragma once

#include <napi.h>

#include <string>

#include "base/catch_errors.h"
#include "binding/convert.h"

namespace tramontane::binding {

// JavaScript's own errors pass.
template <typename Body, typename Failed>
void catch_errors(const char* doing, const Body& body, const Failed& failed) {
  tramontane::catch_errors<Napi::Error>(doing, body, failed);
}

// For a callback that JavaScript calls: what body() throws is thrown there.
template <typename Body>
void throw_errors(Napi::Env env, const char* doing, const Body& body) {
  catch_errors(doing, body, [&](const char* code, const std::string& message) {
    throw to_error(env, code, message);
  });
}

}  // namespace tramontane::binding
