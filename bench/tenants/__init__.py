"""Tenants: what one careful client notices of another that wants everything."""
