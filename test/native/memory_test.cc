// How the KV cache is sized, and that unused pages are given back when memory runs short.
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <random>
#include <thread>

#include "base/error.h"
#include "base/free_memory.h"
#include "engine/engine.h"
#include "model/kv_size.h"
#include "model/memory_share.h"
#include "test.h"
#include "tiny_model.h"

using namespace tramontane;
using tramontane::test::TinyModel;

namespace {

constexpr uint64_t kMega = 1'000'000;

// The files of a control group, with what a test says of it.
class FakeGroup {
 public:
  FakeGroup()
      : path_(std::filesystem::temp_directory_path() /
              ("tramontane-group-" + std::to_string(std::random_device{}()))) {
    std::filesystem::create_directory(path_);
  }
  ~FakeGroup() { std::filesystem::remove_all(path_); }

  void write(const std::string& name, const std::string& text) const {
    // In one step, since an engine may be reading.
    std::ofstream(path_ / "new") << text << "\n";
    std::filesystem::rename(path_ / "new", path_ / name);
  }
  void set(uint64_t limit, uint64_t used, uint64_t files) const {
    write("limit", std::to_string(limit));
    write("stat", "anon 5\nactive_file " + std::to_string(files / 2) + "\ninactive_file " +
                      std::to_string(files - files / 2) + "\nslab 7");
    write("usage", std::to_string(used + files));
  }
  std::string file(const char* name) const { return (path_ / name).string(); }
  MemoryGroup group() const { return {{file("limit"), file("high")}, file("usage"), file("stat")}; }

 private:
  std::filesystem::path path_;
};

KvSize size_of(const KvRequest& request, int32_t window, int64_t pages,
               int64_t most_pages = 1 << 20) {
  return size_kv_cache(request, window, 512, {pages, most_pages, 4, 0.5, "the sum", ""});
}

std::string refusal(const KvRequest& request, int32_t window, int64_t pages,
                    int64_t most_pages = 1 << 20) {
  try {
    size_of(request, window, pages, most_pages);
    return {};
  } catch (const Error& error) {
    return std::string(error.code()) + " " + error.what();
  }
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST("free memory is what the lowest limit leaves; cached files make room") {
  const FakeGroup inner, outer;
  inner.set(900 * kMega, 100 * kMega, 500 * kMega);
  outer.set(1000 * kMega, 300 * kMega, 600 * kMega);
  const FreeMemory least = free_memory({inner.group(), outer.group()});
  CHECK_EQ(least.bytes, 700 * kMega);
  CHECK_EQ(least.limit, 1000 * kMega);
  CHECK(least.where == outer.file("limit"));
  inner.write("high", "400000000");  // Of several limits of one group the lowest counts.
  CHECK_EQ(free_memory({inner.group(), outer.group()}).bytes, 300 * kMega);
  inner.set(900 * kMega, 950 * kMega, 0);
  CHECK_EQ(free_memory({inner.group()}).bytes, uint64_t{0});
}

TEST("version 1 counts the groups within: its sums are what cached files are taken from") {
  const FakeGroup group;
  group.set(900 * kMega, 0, 0);
  group.write("usage", "800000000");
  group.write("stat",
              "active_file 1\ninactive_file 2\ntotal_active_file 300000000\n"
              "total_inactive_file 200000000");
  CHECK_EQ(free_memory({group.group()}).bytes, 600 * kMega);
}

TEST("no limit, no file, rubbish: the machine's memory is what counts") {
  const FreeMemory machine = free_memory({});
  CHECK(machine.bytes > 0);
  CHECK(machine.bytes <= machine.limit);
  CHECK(machine.where == "the machine");
  const FakeGroup group;
  for (const char* limit : {"max", "9223372036854771712", "", "rubbish"}) {
    group.set(1, 100 * kMega, 0);
    group.write("limit", limit);
    CHECK(free_memory({group.group()}).where == "the machine");
  }
}

TEST("the default pool: one full sequence, and up to four in half of what there is") {
  const KvRequest request{0, 3200, false};  // 100 pages.
  CHECK_EQ(size_of(request, 0, 10000).pages, 400);
  CHECK_EQ(size_of(request, 0, 800).pages, 400);
  CHECK_EQ(size_of(request, 0, 700).pages, 350);
  CHECK_EQ(size_of(request, 0, 150).pages, 100);
  CHECK_EQ(size_of(request, 0, 100).pages, 100);
  CHECK_EQ(size_of(request, 0, 100).context, 3200);
  CHECK(size_of(request, 0, 100).context_source == "file");
  CHECK(size_of(request, 0, 10000).pages_source == "4 full sequences");
}

TEST("a default context that does not fit shrinks to what does, and says why") {
  const KvSize size = size_of({0, 3200, false}, 0, 99);
  CHECK_EQ(size.pages, 99);
  CHECK_EQ(size.context, 99 * 32);
  CHECK(contains(size.context_source, "the sum"));
  CHECK(contains(size.pages_source, "the sum"));
  // W = 64: a sequence of any length runs in 3 pages, ceil(63 / 32) + 1.
  CHECK_EQ(size_of({0, 1 << 30, false}, 64, 16).context, 1 << 30);
}

TEST("a context of 2^30 tokens costs no more than fits") {
  const KvSize size = size_of({0, 1 << 30, false}, 0, 1000);
  CHECK_EQ(size.context, 32000);
  CHECK_EQ(size.pages, 1000);
  CHECK_EQ(size_of({0, 1 << 30, false}, 0, int64_t{1} << 40).pages, 1 << 25);
}

TEST("what was asked for and does not fit is refused with the sum; 512 tokens always fit") {
  CHECK(contains(refusal({3201, 100, false}, 0, 100),
                 "OUT_OF_MEMORY kvCacheTokens: 3201 needs 3232"));
  CHECK(contains(refusal({3201, 100, false}, 0, 100),
                 "3200 fit: the sum. Give more memory, or take 3200 at most"));
  CHECK(contains(refusal({0, 3201, true}, 0, 100), "OUT_OF_MEMORY contextSize: 3201"));
  CHECK_EQ(size_of({3200, 100, false}, 0, 100).pages, 100);
  CHECK_EQ(size_of({0, 3200, true}, 0, 100).context, 3200);
  for (const int64_t pages : {int64_t{15}, int64_t{0}, int64_t{-1000000}}) {
    CHECK_EQ(size_of({512, 512, true}, 0, pages).pages, 16);
    CHECK_EQ(size_of({0, 512, true}, 0, pages).pages, 16);
    CHECK_EQ(size_of({0, 4096, false}, 0, pages).context, 512);
  }
  CHECK_EQ(size_of({0, 40, false}, 0, 0).pages, 2);
}

TEST("not even the least cache is granted where dropping the weights makes no room for it") {
  for (const KvRequest& request : {KvRequest{512, 4096, true}, {0, 512, true}, {0, 4096, false}}) {
    CHECK_EQ(size_of(request, 0, -1000, 16).pages, 16);
    CHECK(contains(refusal(request, 0, -1000, 15), "needs 512 tokens of KV cache, but only 480"));
    CHECK(contains(refusal(request, 0, -1000, -1000), "but only 0 fit: the sum. Give more memory"));
  }
  CHECK_EQ(size_of({32, 4096, true}, 0, -1000, 1).pages, 1);
}

TEST("copies of weights take memory for good; files and the reserve can make room") {
  const FakeGroup group;
  group.set(1600 * kMega, 0, 0);
  const MemoryShare share({group.group()}, {{{1, 1}, 2000 * kMega}});
  const MemoryShare::Room room = share.room(50 * kMega, 1000 * kMega);
  CHECK_EQ(room.most_bytes, int64_t{550} * 1'000'000);
  CHECK_EQ(room.bytes, int64_t{-1550} * 1'000'000);
  CHECK(contains(room.sum, "GPTQ weights in order 1000.0 MB"));
}

TEST("models of a process leave each other what they were promised, and share files") {
  const FakeGroup group;
  group.set(1600 * kMega, 0, 0);  // The reserve is a sixteenth: 100 MB.
  const std::map<MemoryShare::FileId, uint64_t> file{{{1, 1}, 300 * kMega}};
  MemoryShare first({group.group()}, file);
  {
    MemoryShare::Room room = first.room(50 * kMega);
    CHECK_EQ(room.bytes, int64_t{1150} * 1'000'000);
    for (const char* part : {"1600.0 MB", "weights take 300.0 MB", "scratch 50.0 MB", "100.0 MB"}) {
      CHECK(contains(room.sum, part));
    }
    first.promise(400 * kMega, std::move(room));
  }
  MemoryShare same({group.group()}, file);
  CHECK_EQ(same.room(0).bytes, int64_t{800} * 1'000'000);
  {
    const MemoryShare other({group.group()}, {{{1, 2}, 200 * kMega}});
    CHECK_EQ(other.room(0).bytes, int64_t{600} * 1'000'000);
    CHECK(contains(other.room(0).sum, "other models 400.0 MB"));
  }
  first.set_used(150 * kMega);  // That much is among what the group uses.
  group.set(1600 * kMega, 150 * kMega, 0);
  CHECK_EQ(same.room(0).bytes, int64_t{800} * 1'000'000);
}

TEST("memory is short from half of the reserve on, by what brings all of it back") {
  const FakeGroup group;
  const MemoryShare share({group.group()}, {{{1, 1}, 300 * kMega}});
  group.set(1600 * kMega, 1250 * kMega, 300 * kMega);
  CHECK_EQ(share.shortage(), uint64_t{0});
  group.set(1600 * kMega, 1251 * kMega, 300 * kMega);
  CHECK_EQ(share.shortage(), 51 * kMega);
  group.set(1600 * kMega, 1700 * kMega, 0);
  CHECK_EQ(share.shortage(), 400 * kMega);
}

TEST("pages nobody uses are given back when memory runs short, by an idle engine too") {
  const FakeGroup group;
  group.set(1600 * kMega, 0, 0);
  TinyModel::Options options;
  options.window = 0;
  TinyModel tiny(options);
  tiny.description.memory_groups = {group.group()};
  Model model(tiny.description);
  std::mutex mutex;
  std::condition_variable changed;
  std::map<uint64_t, std::vector<int32_t>> tokens;
  size_t ended = 0;
  Engine engine(model, {}, [&](std::vector<Event>* events) {
    const std::lock_guard lock(mutex);
    for (const Event& event : *events) {
      if (event.token >= 0) tokens[event.id].push_back(event.token);
      ended += event.finish != Finish::kNone;
    }
    changed.notify_all();
  });
  const auto generate = [&](uint64_t id) {
    GenerateRequest request;
    for (int32_t i = 0; i < 300; ++i) request.prompt.push_back(i % 96);
    request.max_tokens = 5;
    request.sampling.temperature = 0;
    engine.submit(id, std::move(request));
    std::unique_lock lock(mutex);
    changed.wait_for(lock, std::chrono::seconds(60), [&] { return ended == id; });
  };
  const auto cached = [&](auto wanted) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (!wanted(engine.stats().pages_cached) && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return engine.stats().pages_cached;
  };
  generate(1);
  const int32_t kept = cached([](int32_t pages) { return pages >= 9; });
  CHECK_EQ(kept, 9);
  // Nine pages of 8 KiB are 74 KB; half of the reserve is 50 MB.
  group.set(1600 * kMega, 1550 * kMega - 200'000, 0);
  std::this_thread::sleep_for(std::chrono::milliseconds(2500));
  CHECK_EQ(engine.stats().pages_cached, kept);
  group.set(1600 * kMega, 1600 * kMega, 0);
  CHECK_EQ(cached([](int32_t pages) { return pages == 0; }), 0);
  generate(2);
  CHECK(!tokens[1].empty());
  CHECK(tokens[1] == tokens[2]);
}

TEST(
    "files that are read take memory for good: what the limit leaves, or an error before it is "
    "over") {
  TinyModel tiny({});
  const FakeGroup group;
  const auto& files = tiny.description.files;
  group.set(500 * kMega, 100 * kMega, 0);
  const WeightFiles read(files, Mapping::kRead, {group.group()});
  CHECK(read.lengths().empty());  // It is used already, not to be kept for it.
  CHECK(!read.find(tiny.description.weights[0]).data.mapped);  // Nor there again once released.
  const WeightFiles mapped(files);
  CHECK_EQ(mapped.lengths().size(), 1u);
  CHECK(mapped.find(tiny.description.weights[0]).data.mapped);
  group.set(500 * kMega, 500 * kMega - 10, 0);
  try {
    const WeightFiles beyond(files, Mapping::kRead, {group.group()});
    CHECK(false);
  } catch (const Error& error) {
    CHECK(std::string(error.code()) == "OUT_OF_MEMORY");
    CHECK(contains(error.what(), group.file("limit") + " has 10 left"));
  }
}
