"""A map set as PyTorch takes it."""

import torch
from torch.utils.data import Dataset


class LabeledMaps(Dataset):
    """The maps of a set, with their masses and where they come from."""

    def __init__(self, maps):
        self.images = torch.from_numpy(maps.images)  # (n_maps, 3, ny, nx)
        self.masses = torch.from_numpy(maps.masses.value).float()
        self.protostars, self.clouds = maps.protostars.tolist(), maps.clouds.tolist()

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index], self.masses[index], self.protostars[index], self.clouds[index]
