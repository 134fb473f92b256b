// No exception of C++ leaves a callback into Node: each becomes an error with a code.
#pragma once

#include <napi.h>

#include <new>
#include <string>
#include <system_error>

#include "base/error.h"
#include "binding/convert.h"

namespace tramontane::binding {

// Calls body(). What it throws goes to failed(code, message), but for JavaScript's own errors,
// which pass. `doing` is for messages: "loading the model".
template <typename Body, typename Failed>
void catch_errors(const char* doing, const Body& body, const Failed& failed) {
  try {
    body();
  } catch (const Napi::Error&) {
    throw;
  } catch (const Error& error) {
    failed(error.code(), error.what());
  } catch (const std::bad_alloc&) {
    failed("OUT_OF_MEMORY", std::string("out of memory while ") + doing);
  } catch (const std::system_error& error) {  // Threads that cannot be started.
    failed("OUT_OF_MEMORY", std::string(doing) + ": " + error.what());
  } catch (const std::exception& error) {
    failed("COMPUTE_FAILED", std::string(doing) + ": " + error.what());
  }
}

// For a callback that JavaScript calls: what body() throws is thrown there.
template <typename Body>
void throw_errors(Napi::Env env, const char* doing, const Body& body) {
  catch_errors(doing, body, [&](const char* code, const std::string& message) {
    throw to_error(env, code, message);
  });
}

}  // namespace tramontane::binding
