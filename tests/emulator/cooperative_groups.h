// The part of cooperative_groups that the kernels use.
#pragma once
namespace cooperative_groups {
struct cluster_group {
    void sync(XP_SITE) const { xpemu_barrier(xpemu::CLUSTER, 0, 0, f, l); }
    unsigned block_rank() const { return xpemu_current->rank; }
    unsigned num_blocks() const { return xpemu_current->cluster; }
    template <typename T> T* map_shared_rank(T* p, unsigned r) const { return (T*)xpemu_map_shared((void*)p, r); }
};
struct grid_group {
    void sync(XP_SITE) const { xpemu_barrier(xpemu::GRID, 0, 0, f, l); }
};
inline cluster_group this_cluster() { return {}; }
inline grid_group this_grid() { return {}; }
}  // namespace cooperative_groups
