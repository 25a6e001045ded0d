"""A quota service made of FaaSKeeper's blocks; see docs/blueprint.md."""
