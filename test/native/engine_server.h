// For tests of the engine: one over a tiny model, whose events are collected.
#pragma once

#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <random>
#include <stdexcept>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "test.h"
#include "tiny_model.h"

namespace tramontane::test {

inline std::vector<int32_t> prompt_of(uint32_t seed, int32_t length) {
  std::mt19937 random(seed);
  std::vector<int32_t> tokens(static_cast<size_t>(length));
  for (int32_t& token : tokens) token = static_cast<int32_t>(random() % 96);
  return tokens;
}

inline GenerateRequest request_of(uint32_t seed, int32_t length, int32_t max_tokens) {
  GenerateRequest request;
  request.prompt = prompt_of(seed, length);
  request.max_tokens = max_tokens;
  request.sampling.temperature = 1;
  request.sampling.seed = seed;
  return request;
}

// An engine whose events are collected, and acknowledged when `reading`.
class Server {
 public:
  explicit Server(const TinyModel::Options& options, EngineOptions engine_options = {})
      : tiny_(options),
        model_(tiny_.description),
        engine_(model_, std::move(engine_options), [this](std::vector<Event>* events) {
          const std::lock_guard lock(mutex_);
          if (failing_reports-- > 0) throw std::runtime_error("no way to report");
          for (Event& event : *events) {
            if (event.token >= 0) {
              tokens[event.id].push_back(event.token);
              unread_.push_back(event.id);
            }
            if (event.finish != Finish::kNone) ends.emplace(event.id, std::move(event));
          }
          changed_.notify_all();
        }) {}

  Engine& engine() { return engine_; }

  // Reads events until so many requests have ended; false after a minute.
  bool wait_for(size_t count) {
    std::unique_lock lock(mutex_);
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (ends.size() < count) {
      const auto read = std::exchange(unread_, {});
      if (!read.empty()) {
        lock.unlock();
        for (const uint64_t id : read) engine_.acknowledge(id, 1);
        lock.lock();
        continue;
      }
      if (changed_.wait_until(lock, deadline) == std::cv_status::timeout) return false;
    }
    return true;
  }

  // Waits for tokens without reading any.
  bool wait_unread(uint64_t id, size_t count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(60),
                             [&] { return tokens[id].size() >= count; });
  }

  std::map<uint64_t, std::vector<int32_t>> tokens;
  std::map<uint64_t, Event> ends;
  int failing_reports = 0;

 private:
  TinyModel tiny_;
  Model model_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<uint64_t> unread_;
  Engine engine_;
};

inline std::vector<int32_t> alone(const TinyModel::Options& options, GenerateRequest request) {
  Server server(options);
  server.engine().submit(1, std::move(request));
  CHECK(server.wait_for(1));
  return server.tokens[1];
}

}  // namespace tramontane::test
