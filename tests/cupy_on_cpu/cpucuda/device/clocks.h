// Who is ordered after whom: vector clocks of streams, and the last accesses to each address.
//
// A stream's clock holds, for every stream, the last of its calls that is known to be done before. Events, legacy
// stream rules and waits of the host merge clocks. Two calls that touch the same address, one of them writing, must be
// ordered by them; on a GPU they race. The host is one: what any thread waited for counts for all.
struct Clock {
    std::vector<uint64_t> last;  // by stream number
    uint64_t of(size_t stream) const { return stream < last.size() ? last[stream] : 0; }
    void reach(size_t stream, uint64_t ticket) {
        if (last.size() <= stream) last.resize(stream + 1);
        last[stream] = std::max(last[stream], ticket);
    }
    void merge(const Clock& other) {
        if (last.size() < other.last.size()) last.resize(other.last.size());
        for (size_t i = 0; i < other.last.size(); ++i) last[i] = std::max(last[i], other.last[i]);
    }
};
struct Line {  // what one stream did and knows: outside of a capture, or inside of one
    uint64_t issued = 0;
    Clock seen;
};

struct Touch { const void* address; bool write; };
struct Access { size_t stream; uint64_t ticket; const char* what; };
struct Places {
    struct Place { Access writer{0, 0, nullptr}; std::vector<Access> readers; };
    std::map<const void*, Place> places;

    // the access that this one is not ordered after
    static const Access* clash(const Access& a, const Clock& seen, size_t stream) {
        return a.what && a.stream != stream && a.ticket > seen.of(a.stream) ? &a : nullptr;
    }
    const Access* clash(const Touch& t, const Clock& seen, size_t stream) const {
        auto it = places.find(t.address);
        if (it == places.end()) return nullptr;
        if (auto a = clash(it->second.writer, seen, stream)) return a;
        if (t.write)
            for (auto& r : it->second.readers)
                if (auto a = clash(r, seen, stream)) return a;
        return nullptr;
    }
    void add(const Touch& t, const Access& a) {
        Place& p = places[t.address];
        if (t.write) return p.writer = a, p.readers.clear();
        for (auto& r : p.readers)
            if (r.stream == a.stream) return void(r = a);
        p.readers.push_back(a);
    }
    void forget(const void* start, size_t size) {
        places.erase(places.lower_bound(start), places.lower_bound((const char*)start + std::max<size_t>(size, 1)));
    }
};
static std::mutex order_lock;
static Places places;      // of work that runs when it is issued; a capture has its own
static Clock host_clock;   // what the host waited for
