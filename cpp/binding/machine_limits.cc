#include "binding/machine_limits.h"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <string>
#include <vector>

#include "base/machine_limits.h"
#include "base/mapped_file.h"
#include "base/thread_pool.h"
#include "binding/guard.h"
#include "binding/promise_worker.h"

namespace tramontane::binding {
namespace {

constexpr size_t kPieceBytes = size_t{8} << 20;

struct Piece {
  const uint8_t* data;
  size_t bytes;
};

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

struct MachineLimits::Files {
  std::vector<std::unique_ptr<MappedFile>> mapped;
  std::vector<Piece> pieces;
  double bytes = 0;
  int threads = 1;
  std::shared_ptr<ThreadPool> pool = ThreadPool::shared();
};

class MachineLimits::Measuring final : public PromiseWorker {
 public:
  Measuring(Napi::Env env, std::shared_ptr<const Files> files)
      : PromiseWorker(env, "measuring"), files_(std::move(files)) {}

 private:
  void run() override {
    const Files& files = *files_;
    for (const Piece& piece : files.pieces) MappedFile::expect(piece.data, piece.bytes);
    const double start = seconds();
    files.pool->parallel_for(files.threads, static_cast<int>(files.pieces.size()),
                             [&](int chunk, int) {
                               const Piece& piece = files.pieces[static_cast<size_t>(chunk)];
                               keep(read_all(piece.data, piece.bytes));
                             });
    read_ = files.bytes / (seconds() - start);
    // A second mapping would count as this process's memory, which is measured too.
    for (const Piece& piece : files.pieces) MappedFile::release(piece.data, piece.bytes);
    std::vector<double> peaks(static_cast<size_t>(files.threads));
    files.pool->parallel_for(files.threads, files.threads, [&](int chunk, int) {
      peaks[static_cast<size_t>(chunk)] = int8_peak();
    });
    int8_ = std::accumulate(peaks.begin(), peaks.end(), 0.0);
  }

  Napi::Value result() override {
    Napi::Object limits = Napi::Object::New(Env());
    limits.Set("readBytesPerSecond", read_);
    limits.Set("int8OperationsPerSecond", int8_);
    return limits;
  }

  const std::shared_ptr<const Files> files_;
  double read_ = 0, int8_ = 0;
};

Napi::Function MachineLimits::define(Napi::Env env) {
  return DefineClass(env, "MachineLimits", {InstanceMethod<&MachineLimits::measure>("measure")});
}

MachineLimits::MachineLimits(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<MachineLimits>(info) {
  const auto paths = info[0].As<Napi::Array>();
  auto files = std::make_shared<Files>();
  files->threads = info[1].As<Napi::Number>().Int32Value();
  throw_errors(info.Env(), "measuring", [&] {
    for (uint32_t i = 0; i < paths.Length(); ++i) {
      const std::string path = paths.Get(i).As<Napi::String>();
      const MappedFile& file = *files->mapped.emplace_back(std::make_unique<MappedFile>(path));
      for (size_t at = 0; at < file.size(); at += kPieceBytes) {
        files->pieces.push_back(
            {file.data() + at, std::min<uint64_t>(kPieceBytes, file.size() - at)});
      }
      files->bytes += static_cast<double>(file.size());
    }
    files->pool->grow(files->threads);
  });
  files_ = std::move(files);
}

Napi::Value MachineLimits::measure(const Napi::CallbackInfo& info) {
  return (new Measuring(info.Env(), files_))->start();
}

}  // namespace tramontane::binding
