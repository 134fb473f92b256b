// What was thrown, as a code and a message.
#pragma once

#include <exception>
#include <new>
#include <string>
#include <system_error>

#include "base/error.h"

namespace tramontane {

struct NothingPasses {};

// Calls body(). What it throws goes to failed(code, message), but for `Passing`, which passes.
// `doing` is for messages: "loading the model".
template <typename Passing = NothingPasses, typename Body, typename Failed>
void catch_errors(const char* doing, const Body& body, const Failed& failed) {
  try {
    body();
  } catch (const Passing&) {
    throw;
  } catch (const Error& error) {
    failed(error.code(), std::string(error.what()));
  } catch (const std::bad_alloc&) {
    failed("OUT_OF_MEMORY", std::string("out of memory while ") + doing);
  } catch (const std::system_error& error) {  // Threads that cannot be started.
    failed("OUT_OF_MEMORY", std::string(doing) + ": " + error.what());
  } catch (const std::exception& error) {
    failed("COMPUTE_FAILED", std::string(doing) + ": " + error.what());
  }
}

}  // namespace tramontane
