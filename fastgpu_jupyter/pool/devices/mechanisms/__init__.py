"""The mechanisms by which a device is leased whole or in parts, for drivers of any vendor."""
